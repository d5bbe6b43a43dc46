"""Writing rendered samples in the layouts of other tools."""
