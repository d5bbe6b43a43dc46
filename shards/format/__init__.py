"""The format of a set: samples, tar files, the manifest, the order of samples."""
