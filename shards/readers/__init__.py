"""Reading patients' scans: SPIDER folders, DICOM series, the phantom, slices, splits."""
