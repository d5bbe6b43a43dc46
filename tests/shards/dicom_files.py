"""Writes DICOM series for tests."""

import locale

import numpy as np
import pydicom
import SimpleITK as sitk

from synthspine.shards.readers.dicom import find_dicom

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


def edit(path, **values):
    """Change a file: values by name, bytes are written as they are, None removes a value."""
    dataset = pydicom.dcmread(path)
    for name, value in values.items():
        tag = pydicom.tag.Tag(name)
        if isinstance(value, bytes) and name != "PixelData":
            kind = pydicom.datadict.dictionary_VR(tag)
            dataset[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(value), value, 0, True, True)
        elif value is not None:
            setattr(dataset, name, value)
        elif name in dataset:
            del dataset[name]
    dataset.save_as(path)


def write_frames(path, array, *, uid="1.9", axes=SAGITTAL, **more):
    """Write ``(N, H, W)`` as one file of many frames with functional groups.

    ``more``: lists with one entry per frame: ``positions`` along the slice axis in mm, ``frame_axes``,
    ``slopes``, ``intercepts``, ``echoes``, ``contents`` (values by name); ``spacing`` of rows
    and columns and ``gap``, None for none; values of the file by name.
    """
    count = len(array)
    positions = more.pop("positions", np.arange(count) * SPACING[0])
    frame_axes = more.pop("frame_axes", [axes] * count)
    slopes, intercepts = more.pop("slopes", [1] * count), more.pop("intercepts", [0] * count)
    echoes, contents = more.pop("echoes", [90] * count), more.pop("contents", [{}] * count)
    measures = {
        "PixelSpacing": more.pop("spacing", list(SPACING[1:])),
        "SpacingBetweenSlices": more.pop("gap", 4.4),
    }
    measures = {name: value for name, value in measures.items() if value is not None}

    def group(**values):
        item = pydicom.Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        return item

    frames = []
    for position, directions, slope, intercept, echo, content in zip(
        positions, frame_axes, slopes, intercepts, echoes, contents, strict=True
    ):
        place = np.array(ORIGIN) + position * np.cross(*directions)
        frames.append(
            group(
                PlanePositionSequence=[group(ImagePositionPatient=place.tolist())],
                PlaneOrientationSequence=[group(ImageOrientationPatient=np.ravel(directions).tolist())],
                PixelValueTransformationSequence=[group(RescaleSlope=slope, RescaleIntercept=intercept)],
                MREchoSequence=[group(EffectiveEchoTime=float(echo))],
                FrameContentSequence=[group(**content)],
            )
        )
    dataset = group(
        SOPClassUID=ENHANCED_MR,
        SOPInstanceUID=f"{uid}.1",
        SeriesInstanceUID=uid,
        Modality="MR",
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        NumberOfFrames=count,
        Rows=array.shape[1],
        Columns=array.shape[2],
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=1,
        SharedFunctionalGroupsSequence=[group(PixelMeasuresSequence=[group(**measures)])],
        PerFrameFunctionalGroupsSequence=frames,
        **more,
    )
    dataset.PixelData = array.astype("<i2").tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def scan(slices=5, seed=0):
    """Noise, other noise for every seed: int16 ``(slices, 40, 30)``."""
    draw = np.random.Generator(np.random.PCG64(seed))
    return draw.integers(0, 1000, (slices, 40, 30)).astype(np.int16)


def found(folder):
    """The series in a folder, and the errors."""
    errors = []
    series = find_dicom(sorted(path for path in folder.rglob("*") if path.is_file()), errors.append)
    return series, errors


def only(folder):
    """The one series in a folder without errors."""
    (series,), errors = found(folder)
    assert errors == []
    return series


def compress(path, plane, compressor):
    """Store a slice compressed, under the header it has."""
    header = pydicom.dcmread(path)
    image = sitk.GetImageFromArray(plane[None])
    image.SetMetaData("0008|0060", "MR")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    before = locale.setlocale(locale.LC_ALL)
    writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)
    stored = pydicom.dcmread(path)
    for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        header[name] = stored[name]
    header.file_meta.TransferSyntaxUID = stored.file_meta.TransferSyntaxUID
    header.save_as(path, implicit_vr=False, little_endian=True)
