"""Segment lumbar-spine MRI with networks that never saw a real image.

synthspine predict scan.nii.gz      # the model of the project is part of the package
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    from collections.abc import Callable
    from hashlib import sha256
    from importlib import import_module, metadata

    import tyro

    from synthspine.train.model.pretrained import PRETRAINED

COMMANDS = {
    "predict": ("eval.predict", "Segment scans: masks, volumes and quality flags."),
    "synth": ("shards.synth", "Render synthetic images of a label map."),
    "shards": ("shards.main", "Write, verify and inspect sets for training and evaluation."),
    "export": ("shards.export", "Write rendered samples as a dataset of nnU-Net."),
    "train": ("train.main", "Train Model A on synthetic images, Model B on real ones."),
    "eval": ("eval.main", "Measure trained models and write a report."),
    "serve": ("eval.serve", "Serve rendered shards and a viewer of scans over HTTP."),
    "demo": ("eval.demo", "Write example pictures of the project."),
    "config": ("gen.__main__", "Print the configuration of a preset of the generator."),
}
"""Module of every command, below ``synthspine``, and what it does."""
EXTRAS = {name: name for name in ("shards", "train", "eval", "serve")} | {"demo": "eval", "export": "shards"}
"""The extra that a command needs."""


def main() -> int:
    """Run the command of the command line; the exit status."""
    if sys.argv[1:2] == ["--version"]:
        print(version())
        return 0
    about = (
        f"{__doc__}\nsynthspine COMMAND --help explains each command, synthspine --version the installation."
    )
    name = tyro.extras.subcommand_cli_from_dict(
        {name: _named(name) for name in COMMANDS},
        prog="synthspine",
        description=about,
        args=sys.argv[1:2] or ["--help"],
    )
    return _run(name)


def version() -> str:
    """Versions of the package and of torch, and the first digits of the SHA-256 of the model's weights."""
    digest = sha256(PRETRAINED.read_bytes()).hexdigest()[:12] if PRETRAINED.is_file() else "not there"
    own, torch = (metadata.version(name) for name in ("synthspine", "torch"))
    return f"synthspine {own}, weights {PRETRAINED.name} {digest}, torch {torch}"


def _named(name: str) -> Callable[[], str]:
    """What tyro calls for a command: its modules are loaded later, and only its own."""

    def command() -> str:
        return name

    command.__doc__ = COMMANDS[name][1]
    return command


def _run(name: str) -> int:
    sys.argv = [f"synthspine {name}", *sys.argv[2:]]
    try:
        with quiet_interrupt():
            command = import_module(f"synthspine.{COMMANDS[name][0]}")
    except ModuleNotFoundError as error:
        if name not in EXTRAS:
            raise
        print(
            f"error: {error.name} is not installed: pip install 'synthspine[{EXTRAS[name]}]'", file=sys.stderr
        )
        return 1
    # As in the script: signals that come after the training do not change the status.
    status: int = command.main(ends_process=True) if name == "train" else command.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
