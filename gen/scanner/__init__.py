"""What the scanner does to an image: coil, artefacts, resolution, noise, display.

A feature consists of ``XConfig`` (what may be drawn), ``XParams`` (what was drawn for every sample),
``draw_x`` (which returns None for a configuration that never has the feature) and a function that applies it.
These functions take and return float32 images ``(B, *grid)``, where ``*grid`` is ``H, W`` or ``Z, H, W``;
``params`` of None returns the image itself; ``spacing_mm`` is the grid spacing per axis, mm.
"""
