"""Where sets lie: folders, URLs, the local cache."""
