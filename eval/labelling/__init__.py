"""From a segmentation to named vertebrae and discs."""
