"""What is counted: overlap, distances, instances, calibration, intervals."""
