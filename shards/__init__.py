"""Reading SPIDER, writing and reading shards."""
