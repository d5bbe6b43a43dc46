"""What of a study is left out before its geometry is judged: it is valid, and no sagittal series of a spine.

Left out is only what surely is none, because headers are filled in carelessly: a body part that is not
known, or that may show the lumbar spine, counts for nothing.
"""

import re

import numpy as np
from pydicom.dataset import Dataset

from synthspine.shards.readers.dicom.header import collect, items_of, joined, text_of
from synthspine.shards.readers.spider import COS_45

OTHER_PARTS = frozenset(
    re.findall(
        "[A-Z]+",
        "ANKLE ARM BRAIN BREAST CALCANEUS CERVICALSPINE CSPINE EAR ELBOW EYE FACE FEMUR FINGER FOOT FOREARM "
        "HAND HEAD HEART HIP HUMERUS JAW KNEE LEG LIVER LOWERLEG NECK ORBIT PATELLA PROSTATE SHOULDER SKULL "
        "THIGH THUMB TMJ TOE UPPERARM WRIST ",
    )
)
"""Values of ``BodyPartExamined``, without anything but letters, that show no lumbar spine."""
_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_CAPTURE = re.compile(r"screen ?(save|shot|capture)")
_LOCALIZER = re.compile(r"\b(locali[sz]er|scout|survey|loc)\b")


def why_left_out(dataset: Dataset, kind: str) -> str | None:
    """Why an image of this class is left out by what its header says of its series; None if it is not."""
    number, name = text_of(dataset, "SeriesNumber"), text_of(dataset, "SeriesDescription")
    series = f" (series {f'{number} {name}'.strip()})" if number or name else ""
    types = text_of(dataset, "ImageType").lower()
    words = re.sub(r"[\W_]+", " ", f"{types} {name.lower()}")
    if kind.startswith(_CAPTURE_CLASS) or _CAPTURE.search(words):
        return f"is a screenshot or another secondary capture{series}"
    if _LOCALIZER.search(words):
        return f"is an image of a localizer{series}"
    part = text_of(dataset, "BodyPartExamined")
    if re.sub("[^A-Z]", "", part.upper()) in OTHER_PARTS:
        return f"shows another part of the body, BodyPartExamined {part}{series}"
    return None


def lies_across(dataset: Dataset) -> bool:
    """Whether the header of an image tells another orientation than a sagittal one."""
    values: dict[str, object] = {"ImageOrientationPatient": text_of(dataset, "ImageOrientationPatient")}
    if not values["ImageOrientationPatient"]:
        values = {}
        for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            for item in items_of(dataset, name)[:1]:
                collect(item, values, ("ImageOrientationPatient",))
    try:
        axes = np.array(
            [float(word) for word in joined(values.get("ImageOrientationPatient")).split("\\")]
        ).reshape(2, 3)
    except ValueError:
        return False
    return bool(abs(np.cross(*axes)[0]) < COS_45)
