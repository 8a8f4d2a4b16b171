"""Who calls a server from Python: `charkha.Client` and `charkha.AsyncClient`. Needs `pip install 'charkha[client]'`."""

from importlib.util import find_spec

if find_spec("httpx") is None:
    raise ModuleNotFoundError("expected httpx, for charkha's clients: pip install 'charkha[client]'", name="httpx")

from charkha.client.asynchronous import AsyncClient
from charkha.client.synchronous import Client

__all__ = ["AsyncClient", "Client"]
