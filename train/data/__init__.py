"""Batches for training: feeds, augmentation, prefetching."""
