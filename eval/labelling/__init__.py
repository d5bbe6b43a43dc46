"""Post-processing of a segmentation: islands, ranks."""
