"""Where the model that comes with the project lies."""

from pathlib import Path

PRETRAINED = Path(__file__).resolve().parents[2] / "models" / "pretrained" / "synthspine_a3.pth"
"""See ``models/pretrained/README.md``."""
