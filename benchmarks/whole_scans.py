"""Whole scans: overlap by slice position, names, what is found beside the spine, flags, time.

    python benchmarks/whole_scans.py VOLUMES [--checkpoint MODEL.pth] [--output FILE.md]

VOLUMES holds ``images/SET_*.mha`` and, of the same names, ``masks/`` with objects numbered from the lowest:
vertebral bodies, or discs in sets whose name begins with IVD. Only what lies within 3 mm of an annotated
object counts for Dice, because neither arches nor every vertebra are annotated. *Beside* is the share of all
that was found that lies two slices or more beside the annotated ones. *Uncertainty* is Spearman's rank
correlation of the structure entropy and the Dice of slices: a model that knows where it is wrong has -1.
"""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import tyro
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.stats import spearmanr

from benchmarks.page import markdown_table, page, save
from synthspine.eval.labelling.roles import DISC, VERTEBRA, ranks_of, roles_of
from synthspine.eval.prediction.quality import quality_flags
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.shards.command import run_command
from synthspine.shards.readers.spider import read_image, read_values
from synthspine.train.model.checkpoint import load_model
from synthspine.train.model.pretrained import PRETRAINED

NEAR_MM, LEAST_PIXELS = 3.0, 50
THIRDS = ("middle", "between", "outer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure a model on whole scans."""

    volumes: Annotated[Path, tyro.conf.Positional]
    """Folder with images/ and masks/."""
    checkpoint: Path = PRETRAINED
    """A model that the trainer saved."""
    output: Path | None = None
    """Markdown file to write; without it the tables are only printed."""


def scores(
    codes: np.ndarray,
    entropy: Sequence[float],
    truth: np.ndarray,
    role: int,
    in_plane_mm: tuple[float, float],
) -> dict[str, list[float]]:
    """Dice of the annotated slices by thirds, whether all names are right, and the share found beside.

    Args:
        codes: dense codes, uint8 ``(Z, H, W)``.
        entropy: structure entropy of every slice, nats; nan where nothing was found.
        truth: numbers of the objects from the lowest upward, 0 elsewhere, the same shape.
        role: vertebra or disc: what is annotated.
        in_plane_mm: size of a pixel.
    """
    found = roles_of(codes) == role
    ranks = np.where(found, ranks_of(codes), 0)
    numbers = range(1, int(truth.max()) + 1)
    got = [int(np.bincount(ranks[(truth == number) & found], minlength=1).argmax()) for number in numbers]
    named = float(got == list(numbers))
    shown = [index for index, plane in enumerate(truth) if np.count_nonzero(plane) > LEAST_PIXELS]
    thirds: dict[str, list[float]] = defaultdict(list)
    for place, index in enumerate(shown):
        inside = truth[index] > 0
        own = found[index] & (distance_transform_edt(~inside, sampling=in_plane_mm) < NEAR_MM)
        away = abs((place + 0.5) / len(shown) - 0.5) * 2
        both = int(np.count_nonzero(own)) + int(np.count_nonzero(inside))
        dice = 2 * int(np.count_nonzero(own & inside)) / both
        thirds["dice"].append(dice)
        thirds["entropy"].append(entropy[index])
        thirds[THIRDS[0 if away < 1 / 3 else 1 if away < 2 / 3 else 2]].append(dice)
    annotated = (truth > 0).any(axis=(1, 2))
    outside = ~binary_dilation(annotated, np.ones(3))
    beside = int(np.count_nonzero(found[outside])) / max(1, int(np.count_nonzero(found)))
    return {"named": [named], "beside": [beside], **thirds}


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model = load_model(arguments.checkpoint)
    paths = sorted((arguments.volumes / "images").glob("*.mha"))
    if not paths:
        raise ValueError(f"{arguments.volumes / 'images'}: no .mha volume in it")
    by_set: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    flags: Counter[str] = Counter()
    for path in paths:
        volume, mask = read_image(path), read_values(arguments.volumes / "masks" / path.name)
        started = time.perf_counter()
        answer = segment_volume(model, volume, scheme=model.scheme, spacing_mm=model.checkpoint.spacing_mm)
        seconds = time.perf_counter() - started
        raised = quality_flags(
            answer.codes,
            volume.spacing_mm,
            answer.scheme,
            slice_entropy=answer.slice_entropy,
            relative=answer.relative,
            removed=answer.removed,
            scale=answer.scale,
        )
        flags.update(flag.name for flag in raised)
        name = path.name.partition("_")[0]
        role = DISC if name.startswith("IVD") else VERTEBRA
        own = scores(
            answer.codes, answer.slice_entropy, mask.array.astype(np.int64), role, volume.spacing_mm[1:]
        )
        for key, found in (own | {"seconds": [seconds]}).items():
            by_set[name][key] += found
    head = ["set", "volumes", *THIRDS, "names right", "beside", "uncertainty", "seconds"]
    rows = []
    for name, values in by_set.items():
        means = {key: float(np.mean(each)) for key, each in values.items()}
        named = f"{sum(values['named']):.0f} of {len(values['named'])}"
        dices = [f"{means.get(third, float('nan')):.3f}" for third in THIRDS]
        rows.append([name, str(len(values["named"])), *dices, named, f"{means['beside']:.3f}"])
        agreement = spearmanr(values["entropy"], values["dice"], nan_policy="omit").statistic
        rows[-1] += [f"{agreement:+.2f}", f"{means['seconds']:.1f}"]
    raised_rows = [[name, f"{count} of {len(paths)}"] for name, count in flags.most_common()]
    parts = [
        __doc__.split("\n\n")[-1],
        markdown_table(head, rows),
        markdown_table(["flag", "scans"], raised_rows),
    ]
    save(page("Whole scans", torch.device("cpu"), parts), arguments.output)


if __name__ == "__main__":
    sys.exit(run_command(_measure, less_memory="smaller volumes"))
