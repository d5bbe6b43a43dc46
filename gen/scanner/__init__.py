"""What the scanner does to an image: coil, artefacts, resolution, noise, display.

The functions that apply a feature take and return float32 images ``(B, *grid)``, where ``*grid`` is ``H, W``
or ``Z, H, W``; ``params`` of None returns the image itself; ``spacing_mm`` is the grid spacing per axis, mm.
"""
