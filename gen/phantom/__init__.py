"""The procedural phantom: a lumbar-spine scan, image and mask, without any data."""
