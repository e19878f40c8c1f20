"""The loopback HTTP server: health, metrics, the state of everything as JSON, and a page to read. GET only."""
