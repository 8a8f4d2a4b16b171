"""Who can reach a server, and so whether it asks for keys: off this machine, always."""

import socket
from ipaddress import ip_address


class NoUsableKey(Exception):
    """A server that is to ask for keys where there is none that anybody could show."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"expected an API key, since a server at {host} asks for one with every call, found none in use. Make one: "
            "charkha keys create NAME --role predict"
        )


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches a host: every address of that name must be its own loopback."""
    if not host:
        return False
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
