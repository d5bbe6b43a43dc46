"""What the scanner does to an image: coil, artefacts, resolution, noise, display."""
