"""Render synthetic images of a label map; they lie exactly on it, on its own grid.

    synthspine synth labels.nii.gz --samples 10 --preset t2
    synthspine synth labels.mha --labels ranks --output-dir images --suffix .nii.gz

In a checkout also ``python shards/synth.py``. The label map holds SPIDER values (vertebrae 1, 2, ... from the
bottom, canal 100, discs 201, 202, ...); --labels names other values.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import tyro

    from synthspine.shards.building.label_map_images import SynthOptions, synthesise
    from synthspine.shards.command import run_command


def main() -> int:
    """Parse the command line, render and write; the exit status."""
    return run_command(_synth, less_memory="--device cpu")


def _synth() -> None:
    for path in synthesise(tyro.cli(SynthOptions, description=__doc__)):
        print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
