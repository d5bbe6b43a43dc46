"""Tables of a run: heights of structures, all scans in one, colours of the values of masks."""
