"""Reading a set: verified, prefetched, in a reproducible order."""
