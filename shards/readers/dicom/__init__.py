"""DICOM series: finding the series of a folder, and reading each as one volume.

Images are sorted by their headers, not by their folders: a series may be spread over folders, and may hold
several orientations (a localiser) or several images at each position (echoes). A file of many frames
(enhanced MR) is many images: every frame has a position, spacing, orientation and slope of its own.
"""

from synthspine.shards.readers.dicom.series import DicomSeries, find_dicom, read_dicom

__all__ = ["DicomSeries", "find_dicom", "read_dicom"]
