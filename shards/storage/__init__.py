"""Places where sets are stored: folders, URLs, the local cache, locks."""
