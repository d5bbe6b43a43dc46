"""The whole configuration of a run: in the checkpoint, in a file beside it, and in short on the screen."""

import dataclasses
import json
import platform
import textwrap
from pathlib import Path
from typing import Any

from synthspine.gen.config import config_hash
from synthspine.shards.format.provenance import made_with
from synthspine.shards.storage.atomic import write_text
from synthspine.train.options import ModelName, TrainOptions
from synthspine.train.plan import Plan
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.sources import Sources

WIDTH = 110


def configuration(options: TrainOptions, plan: Plan, sources: Sources, model: ModelName) -> dict[str, Any]:
    """All that makes a model what it is, JSON-ready: choices, generator, digests of its sets, patients.

    ``config_hash`` is that of the generator's configuration, ``label_maps`` the digest of the label bank,
    ``samples`` that of the set it learned from, ``validated_on`` that of what chose it, ``code`` that of the
    code that trained it, ``made_with`` the versions and the kind of machine.
    """
    return (
        options.to_dict()
        | plan.decisive
        | {
            "config_hash": config_hash(sources.generator),
            "code": plan.code,
            "validated_on": plan.validated_on,
            "made_with": made_with(),
            "generator_config": dataclasses.asdict(sources.generator),
            "phantom": sources.samples(model).manifest.phantom,
            "train_patients": sources.patients(model),
        }
    )


def write_configuration(path: Path, chosen: dict[str, Any], ranks: Ranks, plan: Plan) -> None:
    """Write a configuration, and what the run is like (steps, ranks, device), as JSON, atomically.

    Raises:
        OSError: the folder cannot be written.
    """
    run = {
        "steps": plan.steps,
        "steps_per_epoch": plan.steps_per_epoch,
        "ranks": ranks.world_size,
        "device": str(ranks.device),
        "arithmetic": "bf16" if plan.bf16 else "float32",
        "python": platform.python_version(),
    }
    write_text(path, json.dumps(chosen | {"run": run}, indent=1, sort_keys=True) + "\n")


def compact(options: TrainOptions) -> str:
    """Every choice in some lines of text, as ``name value``; the preset stands for the generator."""
    values = options.to_dict()
    shared = values.pop("shards")
    grid = shared.pop("grid")
    words = [
        f"{name} {_text(value)}" for name, value in (values | grid | shared).items() if value is not None
    ]
    return textwrap.fill(
        "configuration: " + ", ".join(words), WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )


def _text(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
