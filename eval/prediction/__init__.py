"""Segmenting scans of a user."""
