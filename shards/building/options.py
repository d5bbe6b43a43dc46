"""Options of the sets."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from synthspine.shards.format.manifest import MOST_PER_SHARD, MOST_SHARD_BYTES, most_sample_bytes
from synthspine.shards.readers.layouts import AUTO, check_layout_name, layout_names
from synthspine.shards.readers.slices import SLICE_STEP_MM, Grid
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

if TYPE_CHECKING:
    from synthspine.gen import GeneratorConfig

DEFAULT_DATA_DIR = Path("data")
DEFAULT_PRESET = "spine"

LayoutName = Annotated[str, tyro.conf.arg(metavar="{" + layout_names().replace(", ", ",") + "}")]


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Sources, destination and content of the sets."""

    data_dir: Path = DEFAULT_DATA_DIR
    """Folder with images and masks. If the default folder holds none, the phantom is used."""
    layout: LayoutName = AUTO
    """Layout of the data folder; auto looks at its files. docs/shards.md describes the layouts."""
    labels_dir: Path | None = None
    """Folder with the label maps of Model A (masks suffice); default: the data folder, or the phantom alone
    if phantom_labels is given."""
    labels_layout: LayoutName = AUTO
    """Layout of labels_dir."""
    shards_dir: str = "data/shards"
    """Folder or URL of the folder of all sets: s3, other protocols of fsspec, http and https to read only."""
    split: Path | None = None
    """JSON file with the patients of train, validation and test, which is never written; patients that it
    does not name are in no set. Default: split.json in the shards folder, made and completed there."""
    strict: bool = False
    """Refuse a split file that leaves out patients of the data."""
    use_dummy_data: bool = False
    """Use the phantom, which is written to the subfolder "phantom" of the data folder."""
    phantom_labels: int = 0
    """Learn from label maps of this many patients of the phantom: from these alone (written to the subfolder
    "phantom_labels" of the data folder), or, if labels_dir is given, from these (written to
    data/phantom_labels, in no split) and those of its training patients."""
    seed: int = 42
    """Seed of the synthetic samples and of a new split."""
    volume_spacing_mm: tuple[float, float, float] | None = None
    """Voxel size of every volume of the folders, mm: slice distance, rows, columns; for files that do not
    give it."""
    grid: Grid = field(default_factory=Grid)
    slice_step_mm: float = SLICE_STEP_MM
    """Least distance of two slices of a volume, mm."""
    side_share: float = 0.2
    """Share of synthetic samples that show a slice beside the spine, with less than 5 cm2 of vertebrae and
    canal or none, 0 to 1."""
    samples_per_shard: int = 64
    """Samples in each shard file; the last one may hold fewer."""
    synthetic_samples: int = 512
    """Number of rendered samples."""
    render_batch: int = 16
    """Samples rendered at once; the bytes do not depend on it."""
    preset: str = DEFAULT_PRESET
    """Configuration of the generator: spine, random, t1, t2, synthseg, or a YAML or JSON file with changes to
    spine (synthspine config --format yaml prints all settings)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where samples are rendered."""
    skip_bad: bool = False
    """Leave out series that cannot be read, and list them at the end."""
    rebuild: bool = False
    """Replace sets that were made from other data or with other options, and damaged shards."""

    def __post_init__(self) -> None:
        for name in ("samples_per_shard", "synthetic_samples", "render_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.phantom_labels < 0:
            raise ValueError(f"phantom_labels {self.phantom_labels} must not be negative")
        if self.volume_spacing_mm is not None and not all(
            0 < value < float("inf") for value in self.volume_spacing_mm
        ):
            raise ValueError(f"volume_spacing_mm {self.volume_spacing_mm} must be three positive numbers")
        self._check_bounds()
        check_layout_name(self.layout)
        check_layout_name(self.labels_layout)
        if self.labels_layout != AUTO and self.labels_dir is None:
            raise ValueError(f"labels_layout {self.labels_layout} is that of labels_dir, which is not given")
        if self.preset != DEFAULT_PRESET:
            self.generator()
        if not 0 <= self.side_share <= 1:
            raise ValueError(f"side_share {self.side_share} must be 0 to 1")
        if not self.slice_step_mm > 0:
            raise ValueError(f"slice_step_mm {self.slice_step_mm} must be more than 0")

    def _check_bounds(self) -> None:
        """Refuse shards that readers would refuse."""
        most = min(MOST_PER_SHARD, MOST_SHARD_BYTES // most_sample_bytes(self.grid.shape))
        if self.samples_per_shard > most:
            raise ValueError(
                f"samples_per_shard {self.samples_per_shard} must be at most {most} on this grid"
            )

    def generator(self) -> "GeneratorConfig":
        """The generator's configuration on this grid; a file is read once, when the options are made.

        It raises as :func:`gen.presets.preset_or_file`.
        """
        return self._generator

    @cached_property
    def _generator(self) -> "GeneratorConfig":
        # It loads torch, which takes seconds: not for --help.
        from synthspine.gen.presets import preset_or_file

        return preset_or_file(self.preset, spacing_mm=self.grid.spacing_mm)

    @property
    def place(self) -> Place:
        """Place of the folder of all sets."""
        return open_place(self.shards_dir)

    @property
    def split_file(self) -> str:
        """Path or URL of the split file."""
        return f"{self.place}/split.json" if self.split is None else str(self.split)
