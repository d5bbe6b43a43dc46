"""Writes DICOM series for tests."""

import locale

import numpy as np
import SimpleITK as sitk

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
# Columns of an image run to posterior, rows to inferior, slices to the right.
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
SPACING = (4.4, 0.8, 0.9)
ORIGIN = (30.0, -20.0, 50.0)


def write_series(
    folder, array, *, uid="1.2.3.4", axes=SAGITTAL, number="3", description="T2 TSE sag", **more
):
    """Write every slice of ``(Z, H, W)`` as a file of its own; the paths, in the order of the slices.

    ``more``: tags as ``tag_0018_0081="30"``, ``positions`` along the slice axis in mm, ``drift`` in-plane.
    """
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(*axes)
    positions = more.pop("positions", np.arange(len(array)) * SPACING[0])
    drift = more.pop("drift", 0.0)
    prefix = more.pop("prefix", uid)
    tags = {name[4:].replace("_", "|"): value for name, value in more.items()}
    paths = []
    for index, (plane, position) in enumerate(zip(array, positions, strict=True)):
        place = np.array(ORIGIN) + position * normal + index * drift * np.array(axes[0])
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((SPACING[2], SPACING[1], SPACING[0]))
        values = {
            "0008|0016": MR,
            "0008|0018": f"{uid}.{prefix.count('.')}.{sum(map(ord, prefix))}.{index + 1}",
            "0008|0060": "MR",
            "0008|103e": description,
            "0010|0010": "Secret^Name",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0020|0011": number,
            "0020|0032": "\\".join(f"{value:.6g}" for value in place),
            "0020|0037": "\\".join(f"{value:g}" for axis in axes for value in axis),
        }
        # File names that do not tell the order.
        path = folder / f"{prefix}.{(7 * index + 3) % 101:03d}.dcm"
        _write(image, values | tags, path)
        paths.append(path)
    return paths


def write_enhanced(path, array):
    """Write a volume as one file of many frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((SPACING[2], SPACING[1], SPACING[0]))
    image.SetOrigin(ORIGIN)
    image.SetDirection(np.stack([*SAGITTAL, np.cross(*SAGITTAL)], axis=1).ravel().tolist())
    _write(image, {"0008|0016": ENHANCED_MR, "0008|0060": "MR", "0020|000e": "1.9"}, path)
    return path


def _write(image, values, path):
    for tag, value in values.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(path))
    # ITK leaves the process in the locale C when it writes DICOM.
    before = locale.setlocale(locale.LC_ALL)
    writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)
