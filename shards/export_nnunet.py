"""Render samples and write them as a raw dataset of nnU-Net, version 2.

    python shards/export_nnunet.py --output-dir nnUNet_raw/Dataset601_SynthSpine --synthetic-samples 1000
    python shards/export_nnunet.py --dims 3 --scheme structures ...      # whole volumes

The label maps are those of the training patients, by default of the phantom. A complete dataset is kept, a
killed run continued. docs/interop.md shows how nnU-Net goes on from there.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import tyro

    from synthspine.shards.command import run_command
    from synthspine.shards.exporting.nnunet import NnunetOptions, export_nnunet


def main() -> int:
    """Parse the command line and export; the exit status."""
    return run_command(
        lambda: export_nnunet(tyro.cli(NnunetOptions, description=__doc__)),
        less_memory="a lower --render-batch, or --device cpu",
    )


if __name__ == "__main__":
    sys.exit(main())
