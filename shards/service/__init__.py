"""The service: shards rendered on demand over HTTP, and a page to play with (docs/service.md)."""
