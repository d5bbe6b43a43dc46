"""The table of dataset layouts, and which of them a folder has."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from synthspine.shards.readers.base import Layout, OnError, masks_with, report
from synthspine.shards.readers.folder import (
    NotUsedError,
    Series,
    SpiderError,
    files_below,
    find_series,
    has_layout,
    looks_like_volume,
    patient_key,
)
from synthspine.shards.readers.labels import SPIDER_TABLE
from synthspine.shards.readers.nnunet import NNUNET
from synthspine.shards.readers.spineps import SPINEPS
from synthspine.shards.readers.totalspineseg import TOTALSPINESEG
from synthspine.shards.volumes.files import EXPECTED, ending_of

AUTO = "auto"

SPIDER = Layout(
    name="spider",
    expects="images/ or masks/ with PATIENT_t1.mha, PATIENT_t2.mha or PATIENT_t2_SPACE.mha (SPIDER)",
    fits=has_layout,
    find=find_series,
    read_mask=masks_with(SPIDER_TABLE),
    inputs=("images/*", "masks/*"),
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (SPIDER, NNUNET, TOTALSPINESEG, SPINEPS)}
"""All layouts by name; :func:`register_layout` adds one."""


def register_layout(layout: Layout) -> None:
    """Add a layout, so that folders are recognised as such and ``--layout`` accepts its name.

    Raises:
        ValueError: there is another layout of that name.
    """
    if layout.name == AUTO or LAYOUTS.setdefault(layout.name, layout) is not layout:
        raise ValueError(f"a layout is already called {layout.name!r}; there are {layout_names()}")


def layout_names() -> str:
    """The names that ``--layout`` accepts, for messages."""
    return ", ".join((AUTO, *LAYOUTS))


def check_layout_name(name: str) -> None:
    """Raise ValueError unless ``name`` is ``"auto"`` or the name of a layout."""
    if name != AUTO and name not in LAYOUTS:
        raise ValueError(f"no layout is called {name!r}; there are {layout_names()}")


def fitting(folder: Path) -> list[Layout]:
    """The layouts that a folder has by the names of its files."""
    return [layout for layout in LAYOUTS.values() if layout.fits(folder)]


def layout_of(folder: Path, name: str = AUTO) -> Layout:
    """The layout of a folder: of that name, or with ``"auto"`` the one that the folder looks like.

    Raises:
        SpiderError: no such folder; it does not have the named layout, or with ``"auto"`` none or several.
        ValueError: no layout of that name.
    """
    check_layout_name(name)
    folder = Path(folder)
    if not folder.is_dir():
        raise SpiderError(folder, "no such folder")
    wanted = fitting(folder)
    if name != AUTO:
        if LAYOUTS[name] not in wanted:
            raise SpiderError(folder, f"does not have the layout {name}: {_expected([LAYOUTS[name]])}")
        return LAYOUTS[name]
    if not wanted:
        raise SpiderError(folder, f"has none of the known layouts: {_expected(LAYOUTS.values())}")
    if len(wanted) > 1:
        raise SpiderError(folder, f"has several layouts, choose one by its name: {_expected(wanted)}")
    return wanted[0]


def series_of(folder: Path, name: str = AUTO, on_error: OnError | None = None) -> list[Series]:
    """All series of a folder in any layout, sorted by patient (numbers by value) and stem.

    ``name`` is as for :func:`layout_of`. ``on_error`` is called with each file that cannot be used, and with
    ``NotUsedError`` for each that looks like input and belongs to no series; by default the first are raised
    and the others warned of.

    Raises:
        SpiderError: as :func:`layout_of`, a file that cannot be used, two series with one stem, or none.
    """
    layout = layout_of(folder, name)
    told: set[Path] = set()

    def tell(error: SpiderError) -> None:
        if error.path not in told:
            told.add(error.path)
            report(error, on_error)

    found = [replace(series, layout=layout.name) for series in layout.find(Path(folder), tell)]
    for error in _not_used(Path(folder), layout, found):
        tell(error)
    if not found:
        raise SpiderError(folder, f"holds no series: {_expected([layout])}")
    stem, count = Counter(series.stem for series in found).most_common(1)[0]
    if count > 1:
        raise SpiderError(folder, f"{count} series are called {stem}; every series needs a name of its own")
    return sorted(found, key=lambda series: (*patient_key(series.patient), series.stem))


def _not_used(folder: Path, layout: Layout, found: Iterable[Series]) -> list[SpiderError]:
    """The volumes at the places of a layout that belong to no series, and links to nothing."""
    if not layout.inputs:
        return []
    errors: list[SpiderError] = []
    used = {path for series in found for path in (series.image, series.mask, *series.also)}
    tops = sorted({pattern.partition("/")[0] for pattern in layout.inputs})
    for top in (path for pattern in tops for path in sorted(folder.glob(pattern)) if path.is_dir()):
        for path in files_below(top, errors.append):
            inside = path.relative_to(folder).as_posix()
            if path in used or not any(fnmatchcase(inside, pattern) for pattern in layout.inputs):
                continue
            if ending_of(path):
                errors.append(NotUsedError(path, f"is not used: {_expected([layout])}"))
            elif looks_like_volume(path):
                errors.append(NotUsedError(path, f"cannot be read; convert it to {EXPECTED}"))
    return errors


def _expected(layouts: Iterable[Layout]) -> str:
    return "; ".join(f"{layout.name} expects {layout.expects}" for layout in layouts)
