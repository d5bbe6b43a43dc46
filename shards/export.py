"""Render samples and write them as a raw dataset of nnU-Net, version 2.

    synthspine export nnunet --output-dir nnUNet_raw/Dataset601_SynthSpine --synthetic-samples 1000
    synthspine export nnunet --dims 3 --scheme structures ...      # whole volumes

The label maps are those of the training patients, by default of the phantom. A complete dataset is kept, a
killed run continued. docs/nnunet.md shows how nnU-Net goes on from there.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    from typing import Literal

    import tyro

    from synthspine.shards.command import run_command
    from synthspine.shards.exporting.nnunet import NnunetOptions, export_nnunet


def main() -> int:
    """Run the command of the command line; the exit status."""
    return run_command(
        lambda: tyro.cli(_export, description=__doc__), less_memory="a lower --render-batch, or --device cpu"
    )


def _export(
    layout: tyro.conf.Positional[Literal["nnunet"]], options: tyro.conf.OmitArgPrefixes[NnunetOptions]
) -> None:
    """Write the dataset.

    Args:
        layout: layout of the dataset.
        options: the samples and where they go.
    """
    del layout  # there is one
    export_nnunet(options)


if __name__ == "__main__":
    sys.exit(main())
