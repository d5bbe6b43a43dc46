"""Image files: their headers are checked before anything is allocated, and their checksums are compared."""
