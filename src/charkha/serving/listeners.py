"""The sockets that workers listen at, one for each place: who comes after a worker takes over who waits for it."""

import socket
import sys

from granian.net import SocketHolder, SocketSpec  # type: ignore[attr-defined]  # under other names in its stubs

Listener = tuple[tuple[None, SocketHolder], socket.socket]


class Listeners:
    """Bound to one address side by side; nobody is led to one until its worker listens.

    Calls that were made to a worker that is replaced wait at its socket, which the next one has as well. With a worker
    that died its socket goes too: who waits there is told so, and others are led to the workers that live.
    """

    def __init__(self, spec: SocketSpec) -> None:
        self._spec = spec
        self._by_place: dict[int, tuple[SocketHolder, socket.socket]] = {}

    def of(self, place: int) -> Listener:
        """Return the socket of a place, bound now if there is none. Raises OSError."""
        if place not in self._by_place:
            holder = self._spec.build()
            bound = socket.socket(fileno=holder.get_fd())
            bound.set_inheritable(True)
            self._by_place[place] = holder, bound
        holder, bound = self._by_place[place]
        return (None, holder), bound

    def close(self, place: int) -> None:
        """Let go of the socket of a place; a worker that has it goes on."""
        if place in self._by_place:
            self._by_place.pop(place)[1].close()

    def close_all(self) -> None:
        """Let go of all."""
        for place in list(self._by_place):
            self.close(place)


def can_hand_over() -> bool:
    """Say whether this system lets several sockets share an address evenly."""
    return sys.platform == "linux"
