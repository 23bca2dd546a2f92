"""Assembly: the only layer that names concrete classes of all others. Decides nothing about requests."""

from proxy.app.serving import serve, work

__all__ = ["serve", "work"]
