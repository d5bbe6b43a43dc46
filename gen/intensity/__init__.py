"""How bright a tissue is: contrast, texture, cortical lines, partial volume, flow."""
