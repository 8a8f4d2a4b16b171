"""Charkha: raw data and one typed definition of a model in, a production machine-learning system out.

The words of a definition (`charkha.words`) load when one of them is first used: `charkha --help` needs none. So
do the clients, which load none of the words: who only asks a server needs neither Polars nor a model's library.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

_CLIENTS = ("AsyncClient", "Client")

if TYPE_CHECKING:
    from charkha.client import AsyncClient as AsyncClient
    from charkha.client import Client as Client
    from charkha.words import *  # noqa: F403
else:
    # Hidden from type checkers, for which a module with `__getattr__` has every name there is.
    def __getattr__(name: str) -> object:
        if name in _CLIENTS:
            return getattr(import_module("charkha.client"), name)
        words = import_module("charkha.words")
        if name != "__all__" and name not in words.__all__:
            like = get_close_matches(name, [*words.__all__, *_CLIENTS], 1)
            meant = f"did you mean {like[0]!r}?" if like else f"it has {', '.join(words.__all__)}"
            raise AttributeError(f"module 'charkha' has no word {name!r}; {meant}")
        return getattr(words, name)


def __dir__() -> list[str]:
    return sorted([*import_module("charkha.words").__all__, *_CLIENTS])
