"""The service: shards rendered on demand over HTTP, and a page with previews (docs/service.md)."""
