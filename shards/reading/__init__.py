"""Reading a set: checked, ahead of time, in order."""
