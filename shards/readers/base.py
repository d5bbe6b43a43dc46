"""What a dataset layout is: how the series of a folder are found, and how an image and a mask are read.

Files are the ``.nii.gz`` and ``.mha`` files of SimpleITK in any storage layout; a mask becomes dense codes by
a label table (``shards.readers.labels``). The layouts are listed in ``shards.readers.layouts``.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from synthspine.shards.readers.folder import NotUsedError, Series, SpiderError
from synthspine.shards.readers.labels import LabelTable
from synthspine.shards.readers.spider import Volume, read_image, read_mask

OnError = Callable[[SpiderError], None]

_CONTRASTS = re.compile(r"(?<![a-z0-9])t([12])(?![0-9*]|_?star)")
_SUBJECT = re.compile(r"sub-[^_]+")
_CONTRAST_ENDING = re.compile(r"[_-]t[12]w?([_-]space)?$", re.IGNORECASE)


def image_of(series: Series) -> Volume:
    """The image of a series; raises as ``shards.readers.spider.read_image``."""
    assert series.image is not None
    return read_image(series.image, series.spacing_mm)


def masks_with(table: LabelTable) -> Callable[[Series], Volume]:
    """The reader of masks whose label values are those of one table; raises as ``read_mask`` there."""

    def read(series: Series) -> Volume:
        assert series.mask is not None
        return read_mask(series.mask, table, series.spacing_mm)

    return read


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A layout of a dataset: one instance for each, listed in ``shards.readers.layouts``.

    Attributes:
        name: name on the command line.
        expects: the files that a folder holds, for messages: ``"images/ or masks/ with ..."``.
        fits: whether a folder has this layout, told quickly by the names of some of its files.
        find: the series of a folder, in any order. A file that cannot be used is passed to the second
            argument, or raised as ``SpiderError`` if that is None.
        read_mask: the mask of a series as dense codes, uint8, shape ``(Z, H, W)``; raises ``SpiderError``.
        read_image: the image of a series, float32, on the grid of its mask; raises ``SpiderError``.
        inputs: patterns of the paths in the folder at which a volume is input (``"masks/*"``, also deeper);
            those that belong to no series are told.
    """

    name: str
    expects: str
    fits: Callable[[Path], bool]
    find: Callable[[Path, OnError | None], Iterable[Series]]
    read_mask: Callable[[Series], Volume]
    read_image: Callable[[Series], Volume] = image_of
    inputs: tuple[str, ...] = ()


def contrast_of(text: str) -> str | None:
    """The contrast that a name tells: ``"t1"``, ``"t2"``, ``"t2_SPACE"``, or None if it tells none or two.

    ``T1``, ``T1w``, ``mr_T2`` and others are understood; T2* is another contrast.
    """
    found = set(_CONTRASTS.findall(text.lower().replace("_", "-")))
    if len(found) != 1:
        return None
    contrast = f"t{found.pop()}"
    return "t2_SPACE" if contrast == "t2" and "space" in text.lower() else contrast


def patient_of(case: str) -> str:
    """Patient id of a case: the subject of a BIDS name (``sub-01``), else the name without its contrast."""
    subject = _SUBJECT.match(case)
    return subject[0] if subject else _CONTRAST_ENDING.sub("", case) or case


def report(error: SpiderError, on_error: OnError | None) -> None:
    """Pass an error on, or raise it if nobody takes it; of a file that is only not used, warn."""
    if on_error is not None:
        on_error(error)
    elif isinstance(error, NotUsedError):
        warnings.warn(str(error), stacklevel=3)
    else:
        raise error
