"""The tissues that no label names, painted around and inside the labelled structures.

The function ``paint_*`` of a feature returns painted codes of ``gen.tissues.palette``, uint8 ``(B, *grid)``;
with None in place of parameters it changes nothing. Common arguments:

* ``painted``: the codes painted so far, uint8 ``(B, *grid)``;
* ``codes``: dense codes of the label maps, uint8 ``(B, *grid)``;
* ``frame``: where the spine lies in ``codes``;
* ``depth_mm``: distance inside the border of each of ``STRUCTURES``, mm, ``(B, S, *grid)``;
* ``spacing_mm``: grid spacing per axis, mm.

Drawn parameters are float32 ``(B,)`` unless their docstring says otherwise, and mean what the field of the
same name in the configuration says. A ``key``, int32 ``(B, 2)``, stands for a random field. A length of
``NEVER_MM`` means that something is absent.
"""
