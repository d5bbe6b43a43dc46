"""Overlap, distances, instances, calibration, statistics."""
