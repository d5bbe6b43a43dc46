"""The viewer: a page of the service on which one scan is segmented and looked at."""
