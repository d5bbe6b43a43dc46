"""Synthetic images of one label map file, on its own grid."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from synthspine.gen import SpineSynthGenerator
from synthspine.gen.core.device import pick_device
from synthspine.gen.core.label_values import as_tensor
from synthspine.gen.presets import preset_or_file
from synthspine.shards.readers.folder import SpiderError, image_stem
from synthspine.shards.readers.slices import resample_back, resample_in_plane
from synthspine.shards.readers.spider import read_mask, read_values, write_like
from synthspine.shards.volumes.files import ending_of

WHITE = 4095
"""Value of 1 in the written images, int16: the 12 bits of a scanner."""
NOTE = "synthetic image of SynthSpine, not a scan"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthOptions:
    """Label map, generator, and written files."""

    label_map: Annotated[Path, tyro.conf.Positional]
    """Volume of label values: .mha or .nii.gz, sagittal slices in any orientation."""
    samples: int = 1
    """Number of images."""
    preset: str = "spine"
    """Configuration of the generator: spine, random, t1, t2, synthseg, or a YAML or JSON file with changes to
    spine (synthspine config --format yaml prints all settings)."""
    labels: str = "spider"
    """What the label values mean: spider (1-25, 100, 201-225), dense, or a label scheme: ranks, structures,
    spine, or a YAML file."""
    seed: int = 0
    """Seed; an image is the same for the same seed and number."""
    output_dir: Path = Path("results/synth")
    """Folder of the images: {label map}_synth_000 and so on."""
    suffix: Literal[".mha", ".nii.gz"] | None = None
    """Format of the images; by default that of the label map."""
    spacing_mm: tuple[float, float, float] | None = None
    """Voxel size of the label map, mm: slice distance, rows, columns; for a file that does not give it."""
    overwrite: bool = False
    """Replace files that are there."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where images are rendered."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples {self.samples} must be at least 1")

    def file(self, index: int) -> Path:
        """The file of image ``index``."""
        suffix = self.suffix or ending_of(self.label_map) or ""
        return self.output_dir / f"{image_stem(self.label_map)}_synth_{index:03d}{suffix}"


def synthesise(options: SynthOptions) -> Iterator[Path]:
    """Render and write images that lie exactly on a label map, on its grid: int16, 0..``WHITE``.

    A volume is rendered as a whole, all its slices in one contrast. Where the spacings of rows and columns
    differ, it is rendered at the finer one.

    Yields:
        Every file as soon as it is written.

    Raises:
        FileExistsError: a file is there, and may not be replaced; nothing is written then.
        SpiderError: the label map cannot be read, or holds an unknown value.
        ValueError: no such preset, label scheme or device, or a setting out of bounds.
    """
    files = [options.file(index) for index in range(options.samples)]
    if not options.overwrite and (there := next((path for path in files if path.exists()), None)):
        raise FileExistsError(f"{there} exists; take another --output-dir, or replace it with --overwrite")
    device = pick_device(options.device)
    spider = options.labels == "spider"
    read = read_mask if spider else read_values
    volume = read(options.label_map, spacing_mm=options.spacing_mm)
    across, rows, columns = volume.spacing_mm
    fine = min(rows, columns)
    config = preset_or_file(options.preset, spacing_mm=fine)
    generator = SpineSynthGenerator(
        labels="dense" if spider else options.labels,
        seed=options.seed,
        config=replace(config, slice_spacing_mm=across),
    )
    labels = resample_in_plane(volume.array, (rows, columns), fine, labels=True)
    # A single slice is rendered in the plane.
    label_map = as_tensor(labels[0] if len(labels) == 1 else labels).to(device)
    for index, path in enumerate(files):
        try:
            image = generator.generate_synthetic_mri(label_map, index=index)
        except ValueError as error:
            raise SpiderError(options.label_map, str(error)) from None
        planes = image.reshape(labels.shape).cpu().numpy()
        native = (volume.array.shape[1], volume.array.shape[2])
        grey = resample_back(planes, fine, native, (rows, columns), labels=False)
        write_like(np.rint(grey * WHITE).astype(np.int16), volume.reference, path, note=NOTE)
        yield path
