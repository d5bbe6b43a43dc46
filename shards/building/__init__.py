"""Writing a set, alone or on several ranks."""
