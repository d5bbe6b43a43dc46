"""What the scanner does to an image: coil, artefacts, resolution, noise, display.

A feature consists of ``XConfig`` (what may be drawn), ``XParams`` (what was drawn for every sample),
``draw_x`` (which returns None for a configuration that never has the feature) and a function that applies it.
A field of ``XParams`` with the name of a field of ``XConfig`` holds what was drawn from it, ``(B,)``, or the
value without effect where a sample lacks the feature; the class describes the others.

The functions that apply a feature take and return float32 images ``(B, *grid)``, where ``*grid`` is ``H, W``
or ``Z, H, W``; ``params`` of None returns the image itself; ``spacing_mm`` is the grid spacing per axis, mm.
"""
