"""The fault of an L2 that cannot be had, for those who must not load a client of it."""


class StoreUnavailable(Exception):
    """L2 cannot be had as configured; the message is for the operator and holds no secret."""
