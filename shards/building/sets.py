"""The sets of this project: their sources, and building those that are missing."""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from synthspine.shards.building.build import SampleSource, build_set
from synthspine.shards.building.names import (
    BANK,
    LABELS_TEST,
    LABELS_VAL,
    REAL_T1_TRAIN,
    SETS,
    SYNTHETIC,
    TEST_IMAGES,
    TEST_SETS,
    VALIDATION_IMAGES,
)
from synthspine.shards.building.options import DEFAULT_DATA_DIR, ShardOptions
from synthspine.shards.building.series_samples import SeriesSamples
from synthspine.shards.building.staging import clear_set, clear_staging, missing_shards, reopen
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.building.workers import ALONE, Workers, one_builder
from synthspine.shards.format.manifest import VERSION, has_manifest, load_manifest
from synthspine.shards.format.provenance import identity_difference
from synthspine.shards.format.sample import ShardError
from synthspine.shards.readers.folder import NotUsedError, Series, SpiderError
from synthspine.shards.readers.layouts import SPIDER, fitting, series_of
from synthspine.shards.readers.phantom import (
    FIRST_LABELS_PATIENT,
    PHANTOM_FOLDER,
    PHANTOM_LABELS_FOLDER,
    is_phantom,
    write_phantom,
)
from synthspine.shards.readers.split import OVERVIEW, PARTS, Split, load_or_make_split, load_split
from synthspine.shards.storage.place import Place

_SLICES: dict[str, tuple[str, str | None]] = {
    BANK: ("train", None),
    LABELS_VAL: ("validation", None),
    REAL_T1_TRAIN: ("train", "t1"),
    **{name: ("validation", contrast) for contrast, name in VALIDATION_IMAGES.items()},
    LABELS_TEST: ("test", None),
    **{name: ("test", contrast) for contrast, name in TEST_IMAGES.items()},
}
"""Patients and contrast of the sets of slices; those without a contrast hold label maps only."""


def ensure_sets(names: Iterable[str], options: ShardOptions, workers: Workers = ALONE) -> dict[str, Place]:
    """Build the missing sets and return the places of all, by name.

    A complete set is compared with the options and then used. If the default data folder holds no data (the
    shards came from elsewhere) and nothing has to be built, there is nothing to compare. Several processes
    may call this at once: one builds, the others wait; ``workers`` call it together and share the work. The
    sets that the named ones of ``SETS`` and ``TEST_SETS`` are made from are added.

    Raises:
        SpiderError: a folder or a series cannot be read.
        ShardError: an unknown name, a damaged set, or a complete one made from other data or with other
            options (``rebuild`` replaces it).
    """
    wanted = set(names)
    every = (*SETS, *TEST_SETS)
    if unknown := wanted - set(every):
        raise ShardError(f"no set is called {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    wanted |= {BANK} if SYNTHETIC in wanted else set()
    places = {name: options.place / name for name in every if name in wanted}
    with one_builder(options.place, workers):
        _Session(options, workers, places).run()
        workers.barrier()
    return places


def label_series(options: ShardOptions) -> list[Series]:
    """The series whose masks the set of label maps is made from: those of the training patients.

    Raises:
        SpiderError: a folder cannot be read, or holds no mask of a training patient.
    """
    return _Session(options, ALONE, {BANK: options.place / BANK}).label_series()


def set_identity(name: str, source: SampleSource, options: ShardOptions) -> dict[str, Any]:
    """Everything that determines a set: its samples, and how they are cut into shards."""
    return {
        "version": VERSION,
        "set": name,
        "samples_per_shard": options.samples_per_shard,
        **source.identity(),
    }


class _Session:
    """One call of :func:`ensure_sets`."""

    def __init__(self, options: ShardOptions, workers: Workers, places: dict[str, Place]) -> None:
        self._options = options
        self._workers = workers
        self._places = places
        self._errors: dict[str, SpiderError] = {}
        self._found: set[Path] = set()

    def run(self) -> None:
        missing = {name for name, place in self._places.items() if not has_manifest(place)}
        data_dir, labels_dir = self._sources(missing)
        if data_dir is None and labels_dir is None:
            for place in self._places.values():
                self._report_unchecked(place)
            return
        found = {} if data_dir is None else {data_dir: self._find(data_dir)}
        if labels_dir is not None and labels_dir not in found:
            found |= {labels_dir: self._find_labels(labels_dir)}
        split = self._split(found)
        more = self._more_labels(split)
        for name, place in self._places.items():
            path = labels_dir if _needs_masks_only(name) else data_dir
            if path is None:
                self._report_unchecked(place)
            else:
                self._ensure(name, path, found[path], split, more if name == BANK else [])
        for error in self._errors.values():
            self._workers.log(f"left out: {error}")

    def label_series(self) -> list[Series]:
        """The series of the set of label maps."""
        _, path = self._sources(self._places.keys())
        assert path is not None
        series = self._find_labels(path)
        split = self._split({path: series})
        return self._chosen(BANK, path, series, split, self._more_labels(split))

    def _find_labels(self, path: Path) -> list[Series]:
        alone = self._options.phantom_labels > 0 and self._options.labels_dir is None
        return (self._find_phantom if alone else self._find)(path)

    def _sources(self, missing: Collection[str]) -> tuple[Path | None, Path | None]:
        """The folders of images and of label maps, with these sets missing; None where one is not needed."""
        options = self._options
        masks_only = {name for name in self._places if _needs_masks_only(name)}
        own_labels = options.labels_dir is not None or options.phantom_labels > 0
        from_data = self._places.keys() - masks_only if own_labels else self._places.keys()
        standard = options.data_dir == DEFAULT_DATA_DIR and not fitting(options.data_dir)
        data_dir = None
        if from_data and not (standard and not options.use_dummy_data and not from_data & set(missing)):
            data_dir = options.data_dir
            if options.use_dummy_data or standard:
                data_dir /= PHANTOM_FOLDER
                self._workers.from_main(lambda: write_phantom(options.data_dir / PHANTOM_FOLDER))
                self._workers.log(f"using the phantom in {data_dir}")
        if not own_labels:
            return data_dir, data_dir
        return data_dir, (options.labels_dir or self._phantom_labels()) if masks_only else None

    def _phantom_labels(self) -> Path:
        """The folder of the phantom's label maps, whose patients differ from those with images."""
        # Nothing is written to the data folder if label maps are given, because others may share it.
        home = self._options.data_dir if self._options.labels_dir is None else DEFAULT_DATA_DIR
        folder, patients = home / PHANTOM_LABELS_FOLDER, self._options.phantom_labels
        self._workers.from_main(lambda: write_phantom(folder, patients, images=False))
        return folder

    def _more_labels(self, split: Split) -> list[Series]:
        """The phantom's label maps that are added to those of ``labels_dir``; no split holds them."""
        labels_dir = self._options.labels_dir
        if labels_dir is None or not self._options.phantom_labels or BANK not in self._places:
            return []
        phantom = self._find_phantom(self._phantom_labels())
        patients = frozenset().union(*map(split.part, PARTS))
        if taken := {series.patient for series in phantom} & patients:
            raise SpiderError(labels_dir, f"patient {min(taken)} has the id of a patient of the phantom")
        return phantom

    def _find(self, path: Path) -> list[Series]:
        def leave_out(error: SpiderError) -> None:
            if not (options.skip_bad or isinstance(error, NotUsedError)):
                raise error
            self._errors[str(error)] = error

        options = self._options
        own = path == options.labels_dir != options.data_dir
        if is_phantom(path):
            return series_of(path, SPIDER.name, leave_out)
        series = series_of(path, options.labels_layout if own else options.layout, leave_out)
        series = [replace(entry, spacing_mm=options.volume_spacing_mm) for entry in series]
        for entry in series:
            if entry.mask is None:
                leave_out(NotUsedError(entry.image or path, "has no mask"))
        if path not in self._found:
            self._workers.log(f"{path}: {len(series)} series in the layout {series[0].layout}")
            if unknown := sum(entry.image is not None and entry.contrast is None for entry in series):
                found = f"{unknown} images have no known contrast (T1, T2) and are not used"
                self._workers.log(f"{path}: {found}; their masks are used as label maps")
        self._found.add(path)
        return series

    def _find_phantom(self, path: Path) -> list[Series]:
        """The requested label maps; the folder may hold more of them, for another set."""
        requested = self._phantom_patients()
        return [series for series in self._find(path) if series.patient in requested]

    def _split(self, found: dict[Path, list[Series]]) -> Split:
        patients = {series.patient for group in found.values() for series in group}
        folders = list(found)
        if not self._options.use_dummy_data:
            # A new split covers all patients, also those of folders that are not read this time.
            for path in (self._options.data_dir, self._options.labels_dir):
                if path is not None and path not in found and fitting(path):
                    folders.append(path)
                    patients |= {series.patient for series in self._find(path)}
        overview = next((path / OVERVIEW for path in folders if os.path.lexists(path / OVERVIEW)), None)
        seed, strict, file = self._options.seed, self._options.strict, self._options.split
        if file is None:
            return self._workers.from_main(
                lambda: load_or_make_split(self._options.split_file, patients, overview, seed)
            )
        # No split file has to name those of the phantom, where label maps come from it alone.
        made = patients & self._phantom_patients() if self._options.labels_dir is None else set()
        return self._workers.from_main(
            lambda: load_split(file, patients - made, made=made, seed=seed, strict=strict)
        )

    def _phantom_patients(self) -> frozenset[str]:
        """Patients of the phantom whose label maps are learned from."""
        first, count = FIRST_LABELS_PATIENT, self._options.phantom_labels
        return frozenset(str(number) for number in range(first, first + count))

    def _ensure(self, name: str, path: Path, series: list[Series], split: Split, more: list[Series]) -> None:
        place = self._places[name]
        source: SampleSource
        if name == SYNTHETIC:
            source = SyntheticSamples(self._places[BANK], self._options)
        else:
            chosen = self._chosen(name, path, series, split, more)
            source = SeriesSamples(chosen, _SLICES[name][1] is not None, self._options)
        identity = set_identity(name, source, self._options)
        if self._workers.from_main(lambda: self._is_complete(place, source, identity)):
            self._report(place, "complete")
            return
        build_set(
            place,
            source,
            identity,
            phantom=is_phantom(path),
            samples_per_shard=self._options.samples_per_shard,
            workers=self._workers,
        )
        self._report(place, "wrote")

    def _chosen(
        self, name: str, path: Path, series: list[Series], split: Split, more: list[Series]
    ) -> list[Series]:
        """The series of a set of slices."""
        part, contrast = _SLICES[name]
        chosen = [s for s in series if s.patient in split.part(part) and _fits(s, contrast)]
        if contrast is None:
            # Several images of a case may share a mask.
            chosen = list({s.mask: s for s in reversed(chosen)}.values())[::-1]
        if more and not chosen:
            raise SpiderError(path, "no mask of a training patient; see the split file")
        return chosen + more

    def _is_complete(self, place: Place, source: SampleSource, identity: dict[str, Any]) -> bool:
        """Whether the requested set is complete; a set that is to be replaced is removed."""
        if not has_manifest(place):
            return False
        manifest = load_manifest(place)
        difference = ", ".join(identity_difference(identity, manifest.identity))
        if not difference and manifest.on_demand:
            return True
        if not difference:
            missing = missing_shards(place, manifest)
            if missing or self._options.rebuild:
                if missing:
                    print(f"{place}: {', '.join(missing)} missing or cut: written again", flush=True)
                reopen(place, manifest, source.made_with())
                return False
            # A writer may have been killed before it cleared them; web servers cannot be listed.
            with suppress(PermissionError):
                clear_staging(place)
            return True
        if difference == "least_area_cm2" and not (self._options.rebuild or missing_shards(place, manifest)):
            print(f"{place}: holds no slices beside the spine; --rebuild adds them", flush=True)
            return True
        if manifest.on_demand:
            raise ShardError(f"{place}: is rendered with other {difference}; give the service's own choices")
        if not self._options.rebuild:
            hint = "use another --shards-dir, or --rebuild to replace it"
            raise ShardError(f"{place}: was made with other {difference}; {hint}")
        clear_set(place)
        return False

    def _report_unchecked(self, place: Place) -> None:
        """Report a complete set without its sources; only its grid can be compared."""
        grid = load_manifest(place).identity.get("grid")
        if grid is not None and grid != self._options.grid.to_json():
            raise ShardError(f"{place}: was made with another grid; use another --shards-dir")
        self._report(place, "complete")

    def _report(self, place: Place, what: str) -> None:
        if not self._workers.is_main:
            return
        manifest = load_manifest(place)
        origin = " (phantom)" if manifest.phantom else ""
        counts = f"{manifest.samples} samples in {len(manifest.shards)} shards, {manifest.size}"
        print(f"{what} {place}{origin}: {counts}", flush=True)
        for entry in manifest.left_out:
            print(f"  left out: {entry['source']} ({entry['reason']})", flush=True)


def contrast_of(name: str) -> str | None:
    """Contrast of the images of a set; None if none of them were scanned, empty for an unknown name."""
    return None if name == SYNTHETIC else _SLICES.get(name, ("", ""))[1]


def _needs_masks_only(name: str) -> bool:
    return name == SYNTHETIC or _SLICES[name][1] is None


def _fits(series: Series, contrast: str | None) -> bool:
    has_image = contrast is None or (series.contrast == contrast and series.image is not None)
    return has_image and series.mask is not None
