"""Where the anatomy lies: affine maps, deformation, flips, field of view, the course of the spine."""
