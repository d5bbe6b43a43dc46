"""How bright a tissue is: contrast, texture, cortical lines, partial volume, flow.

Features are built and called as in ``gen.scanner``. Dense codes (``gen.core.anatomy``) and painted codes
(``gen.tissues.palette``) are uint8, ``(B, *grid)``; there are ``P`` = ``PAINT_CODES`` painted codes.
"""
