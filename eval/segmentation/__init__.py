"""Segmentation of volumes by a trained network."""
