"""Pack a trained model for others: half-precision weights, no paths, the digest of the file beside it.

    python train/release.py models/saved/model_a_synthetic_best.pth models/pretrained/NAME.pth
    python train/release.py models/pretrained/NAME.pth NAME.pth --bundle bundle     # for MONAI

NAME.pth is a checkpoint whose weights are float16, NAME.safetensors the same for other tools; ``load_model``
reads both into a float32 network.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tyro

from synthspine.shards.command import run_command
from synthspine.shards.storage.atomic import file_digest, write_text
from synthspine.train.model.checkpoint import (
    SAFETENSORS,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from synthspine.train.model.monai_bundle import write_bundle


def digest_file(path: Path) -> Path:
    """Where the digest of a released file lies."""
    return path.with_name(f"{path.name}.sha256")


def check_digest(path: Path) -> None:
    """Compare a released file with the digest beside it.

    Raises:
        CheckpointError: one of the two files is missing, or they do not fit.
    """
    try:
        wanted = digest_file(path).read_text(encoding="ascii").split()[0]
        found = file_digest(path)
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: no released model with its digest ({error})") from error
    if found != wanted:
        raise CheckpointError(f"{path}: SHA-256 is {found}, but {digest_file(path).name} says {wanted}")


def without_paths(config: str) -> str:
    """A stored configuration without its paths, which have no meaning elsewhere."""

    def cleaned(value: object) -> object:
        if not isinstance(value, dict):
            return value
        places = {name for name in value if name.endswith("_dir")} | {"split", "place", "host", "start_from"}
        return {name: cleaned(item) for name, item in value.items() if name not in places}

    return json.dumps(cleaned(json.loads(config)))


def mixed(first: Checkpoint, others: Sequence[tuple[Checkpoint, float]]) -> Checkpoint:
    """The first checkpoint with a weighted mean of its weights and those of others (Wortsman et al. 2022).

    The mean of a network and what became of it by further training is often better on other data than both.

    Args:
        first: its share is what the others leave of 1.
        others: checkpoints of the same network and label scheme, and the share of each.

    Returns:
        The mean. Its configuration names the training patients of all.

    Raises:
        CheckpointError: the networks or their label schemes differ.
        ValueError: a share is not above 0, or they leave nothing for the first.
    """
    shares = [share for _, share in others]
    if not all(share > 0 for share in shares) or sum(shares) >= 1:
        raise ValueError(f"shares are {shares}; want numbers above 0 whose sum is below 1")
    kind = first.architecture, first.scheme
    if any((other.architecture, other.scheme) != kind for other, _ in others):
        raise CheckpointError("only weights of the same network and label scheme can be mixed")
    weights = {name: value.float() * (1 - sum(shares)) for name, value in first.state_dict.items()}
    for other, share in others:
        weights = {name: value + share * other.state_dict[name].float() for name, value in weights.items()}
    config = json.loads(first.config)
    configs = [config, *(json.loads(other.config) for other, _ in others)]
    config["train_patients"] = sorted({name for each in configs for name in each.get("train_patients", ())})
    return replace(first, state_dict=weights, config=json.dumps(config))


def release(
    source: tyro.conf.Positional[Path],
    target: tyro.conf.Positional[Path],
    bundle: Path | None = None,
    mix: tuple[tuple[Path, float], ...] = (),
) -> Checkpoint:
    """Write the half-precision copy of a checkpoint in both formats, with digests; returns the copy.

    Args:
        source: the checkpoint that the trainer saved.
        target: the file to write, and beside it the same as .safetensors; the SHA-256 of each goes beside it,
            with .sha256 after its name.
        bundle: a folder: the model also goes there as a bundle of MONAI.
        mix: other checkpoints of the same network, such as the one that the training began with, each
            followed by its share (0 to 1): the weights become a weighted mean. ``source`` has the rest.
    """
    checkpoint = load_checkpoint(source)
    if mix:
        checkpoint = mixed(checkpoint, [(load_checkpoint(path), share) for path, share in mix])
        parts = [{"sha256": file_digest(path), "share": share} for path, share in mix]
        config = json.loads(checkpoint.config) | {"mixed_with": parts}
        checkpoint = replace(checkpoint, config=json.dumps(config))
    packed = replace(
        checkpoint,
        state_dict={name: value.half() for name, value in checkpoint.state_dict.items()},
        config=without_paths(checkpoint.config),
    )
    for path in (target, target.with_suffix(SAFETENSORS)):
        save_checkpoint(path, packed)
        write_text(digest_file(path), f"{file_digest(path)}  {path.name}\n")
        print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB, and its digest")
    if bundle is not None:
        write_bundle(bundle, packed)
        print(f"wrote the bundle {bundle}")
    return packed


if __name__ == "__main__":
    sys.exit(run_command(lambda: tyro.cli(release, description=__doc__)))
