"""What a user chooses of the labelling; nothing is loaded for it."""

from typing import Literal

MIN_ISLAND_MM2 = 25.0
"""Default area below which a region of a structure in a slice is removed."""
RankSource = Literal["auto", "count", "model"]
"""Counted with the model's start, counted alone, or those of the model."""
