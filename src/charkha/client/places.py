"""How many calls a client has in progress: no more than it has places, and connections.

Calls that wait for a place wait in front of httpx's pool of connections, never in it: each call that comes to that pool
or leaves it looks at all that wait there, and at all connections for each of them, which is quadratic in calls.
"""

import httpx


class NoPlace(TimeoutError):
    """All places were taken for as long as the call could wait: it was not sent."""

    def __init__(self, places: int) -> None:
        said = "Make fewer at a time, or predict many rows at once"
        super().__init__(f"no place among the {places} calls that the client makes at a time (in_flight). {said}")


def limits_of(places: int) -> httpx.Limits:
    """Return the limits of a pool: a connection for each place, kept for the next call."""
    return httpx.Limits(max_connections=places, max_keepalive_connections=places)
