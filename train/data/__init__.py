"""Batches for training: feeds and augmentation."""
