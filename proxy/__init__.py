"""sidecache: a caching reverse proxy that sits beside an unchanged HTTP API."""

__version__ = "0.1.0"
