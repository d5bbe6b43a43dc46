"""Which tissue a pixel shows: everything that is painted into and around the labelled structures."""
