"""Options of a prediction, without what takes seconds to load: ``--help`` is quick."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from synthspine.eval.labelling.settings import MIN_ISLAND_MM2, RankSource
from synthspine.train.model.pretrained import PRETRAINED

MaskFormat = Literal["scan", "mha", "nii.gz", "nii", "nrrd"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictOptions:
    """Scans, model, and written files."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Volumes (.mha, .mhd, .nii.gz, .nii, .nrrd; any orientation), or folders of volumes and DICOM series."""
    checkpoint: Path = PRETRAINED
    """A model saved by the trainer; by default the model of the project, trained on the phantom's label maps
    alone."""
    spacing_mm: tuple[float, float, float] | None = None
    """Voxel size of the scans, mm: slice distance, rows, columns; for files that do not give it."""
    output_dir: Path = Path("results/predictions")
    """Folder of the masks and of their volumes (.csv) and quality flags (.json); the scans may lie in it."""
    format: MaskFormat = "scan"
    """Format of the masks; scan: that of the scan, and .mha for DICOM and .mhd."""
    overwrite: bool = False
    """Replace files at the places of masks, tables and pictures also if this program did not write them."""
    tables: bool = True
    """Write volumes and heights (.csv), and these with quality flags and provenance (.json), beside every
    mask; also one table of all scans (summary.csv), and tables of colours for 3D Slicer and ITK-SNAP."""
    overlay: bool = False
    """Write a picture (.png) of three slices with contours beside every mask."""
    dicom_seg: bool = False
    """Write a DICOM segmentation (.dcm) beside the mask of every DICOM series; it names the patient as its
    source does. Needs the extra dicom-seg."""
    tta: bool = False
    """Average over four views of every slice: better on scans unlike the training data, 5 times as slow."""
    min_island_mm2: float = MIN_ISLAND_MM2
    """Remove regions of a structure in a slice that are smaller than this; 0 keeps all."""
    ranks: RankSource = "auto"
    """Ranks of vertebrae and discs: count: counted along the canal; model: those of a model that tells them;
    auto: counted, from the start with which most of the model's ranks agree, if it has any."""
    always: bool = False
    """Label scans, too, that seem to show no spine."""
    sacrum: bool = False
    """Keep the sacrum in masks as 61, of a model that tells it; SPIDER leaves it out."""
    posterior: bool = False
    """Keep posterior elements apart in masks as 131, 132, ..., of a model that does; SPIDER counts them to
    their vertebrae."""
    onnx: Path | None = None
    """Export the network to this .onnx file; images are then optional."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the model."""

    def __post_init__(self) -> None:
        if not self.images and self.onnx is None:
            raise ValueError(
                "no image given; name .mha or .nii.gz files, or folders of them or of DICOM series"
            )
        if self.spacing_mm is not None and not all(0 < value < math.inf for value in self.spacing_mm):
            raise ValueError(f"spacing_mm {self.spacing_mm} is not three positive numbers")
        if not 0 <= self.min_island_mm2 < math.inf:
            raise ValueError(f"min_island_mm2 {self.min_island_mm2} is not 0 or more")

    @property
    def mask_suffix(self) -> str | None:
        """Ending of the masks; None for that of their scans."""
        return None if self.format == "scan" else f".{self.format}"
