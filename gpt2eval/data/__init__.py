"""Published data: bytes to records, downloads, the cache, and texts of your own."""
