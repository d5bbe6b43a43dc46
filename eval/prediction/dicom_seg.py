"""A mask as a DICOM segmentation (SEG) of the series that it segments, by the optional package highdicom.

It holds the identity of the patient and the study of its source, as viewers need to show the two together.
"""

import io
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from synthspine.eval.labelling.roles import code_name, ranks_of
from synthspine.eval.prediction.tables.colours import structure_name
from synthspine.gen.core.anatomy import CANAL, DISC_OFFSET, POSTERIOR_OFFSET, SACRUM, spider_values
from synthspine.shards.checking.overlay import code_colours
from synthspine.shards.readers.dicom import DicomSeries
from synthspine.shards.readers.dicom.header import read_dataset
from synthspine.shards.storage.marks import mark

EXTRA = "--dicom-seg needs the package highdicom: pip install 'synthspine[dicom-seg]'"
_SERIES_NUMBER = 9000
# A source may lack what a segmentation has to hold, though empty.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_LUMBAR = ("Fifth", "Fourth", "Third", "Second", "First")


class SegmentationError(ValueError):
    """No DICOM segmentation can be made of a series; the message is one line that says why."""


def check_installed() -> None:
    """Check that the package is there.

    Raises:
        SegmentationError: it is not.
    """
    if find_spec("highdicom") is None:
        raise SegmentationError(EXTRA)


def segmentation_bytes(
    codes_of_frames: np.ndarray, series: DicomSeries, slices_mm: float, *, relative: bool
) -> bytes | None:
    """The content of a DICOM segmentation; None for an empty mask, which it cannot be.

    Args:
        codes_of_frames: dense codes, uint8 ``(N, H, W)``, in the order of the frames of the series.
        series: the segmented series.
        slices_mm: distance of its slices, which is taken as their thickness where the headers tell none.
        relative: whether ranks count from the lowest vertebra in view, so that no vertebra has a name.

    Raises:
        SegmentationError: the headers of the series do not hold what a segmentation needs.
    """
    import highdicom as hd

    shown = [code for code in np.unique(codes_of_frames).tolist() if code]
    if not shown:
        return None
    sources, frames = _sources(series, codes_of_frames, slices_mm)
    model = hd.AlgorithmIdentificationSequence(
        name="SynthSpine", version=version("synthspine"), family=codes.DCM.ArtificialIntelligence
    )
    colours = code_colours()
    table = np.zeros(256, dtype=np.uint8)
    table[shown] = np.arange(1, len(shown) + 1)
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=code_name(code, relative=True) if relative else structure_name(code),
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=_type_of(code, relative=relative),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=model,
            display_color=hd.color.CIELabColor.from_rgb(*colours[code].tolist()),
            tracking_id=f"SynthSpine {int(spider_values()[code])}",
            tracking_uid=generate_uid(entropy_srcs=[series.uid, str(code)]),
        )
        for number, code in enumerate(shown, 1)
    ]
    values = table[frames]
    seed = [series.uid, sources[0].get("SOPInstanceUID", ""), mark("codes", values.tobytes())]
    try:
        dataset = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=values,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(entropy_srcs=["series", *seed]),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(entropy_srcs=["instance", *seed]),
            instance_number=1,
            manufacturer="SynthSpine",
            manufacturer_model_name="SynthSpine",
            software_versions=version("synthspine"),
            device_serial_number="none",
            content_label="SYNTHSPINE",
            series_description="SynthSpine, for research, not for diagnosis",
        )
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise SegmentationError(f"no DICOM segmentation can be made of the series: {error}") from None
    dataset.ContentDescription = segmentation_mark(dataset)
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def segmentation_mark(dataset: Dataset) -> str:
    """The mark of a segmentation: that of its frames and their segments."""
    names = [str(segment.get("SegmentLabel", "")) for segment in dataset.get("SegmentSequence", ())]
    return mark("segmentation", dataset.PixelData + "\n".join(names).encode())


def has_own_frames(content: bytes) -> bool:
    """Whether a DICOM file has the mark of its frames."""
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        return bool(dataset.get("ContentDescription") == segmentation_mark(dataset))
    except Exception:
        # Whatever a damaged file makes the library raise, it is not the program's own.
        return False


def _sources(series: DicomSeries, frames: np.ndarray, slices_mm: float) -> tuple[list[Dataset], np.ndarray]:
    """The files of a series, and the codes of their frames: of one file of many frames of all of them."""
    sources = [read_dataset(path) for path in series.files]
    for source in sources:
        for name in _MAY_BE_EMPTY:
            if name not in source:
                setattr(source, name, "")
        if not source.get("SliceThickness"):
            source.SliceThickness = slices_mm
    if len(sources) == 1 and (count := int(sources[0].get("NumberOfFrames", 1))) > 1:
        shared = sources[0].SharedFunctionalGroupsSequence[0]
        own = sources[0].PerFrameFunctionalGroupsSequence[series.frames[0].index]
        # Those of the series hold for all of its frames; the package looks for them in the shared groups.
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if name not in shared and name in own:
                setattr(shared, name, getattr(own, name))
        whole = np.zeros((count, *frames.shape[1:]), dtype=frames.dtype)
        whole[[frame.index for frame in series.frames]] = frames
        return sources, whole
    if len(sources) < len(series.frames):
        raise SegmentationError("no DICOM segmentation can be made of several files of many frames")
    return sources, frames


def _type_of(code: int, *, relative: bool) -> Any:
    """The kind of a structure in SNOMED CT, as exact as the names are."""
    if code in (CANAL, SACRUM):
        return codes.SCT.SpinalCanalStructure if code == CANAL else codes.SCT.Sacrum
    if code > POSTERIOR_OFFSET:
        return codes.SCT.ArchOfVertebra
    rank, disc = int(ranks_of(np.array(code))), code > DISC_OFFSET
    named = not relative and rank <= len(_LUMBAR) + 1
    if disc:
        # The discs are named after the vertebra above.
        place = [*(f"{word}Lumbar" for word in _LUMBAR), "TwelfthThoracic"]
        name = f"IntervertebralDiscStructureOf{place[rank - 1]}Vertebra" if named else "AnatomicalStructure"
    else:
        place = ["L5", "L4", "L3", "L2", "L1", "T12"]
        name = f"{place[rank - 1]}Vertebra" if named else "Vertebra"
    found: Any = getattr(codes.SCT, name)
    # Meanings of codes have at most 64 characters.
    return found._replace(meaning=found.meaning.removesuffix(" (body structure)"))
