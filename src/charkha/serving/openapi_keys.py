"""The OpenAPI document of a server that asks for keys: how they are shown, which role each route needs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from charkha.serving.keyring import ANY_KEY, OPEN, Need
from charkha.serving.protocols.openapi import error_of

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "X-API-Key: KEY"},
    "basic": {"type": "http", "scheme": "basic", "description": "As a browser asks: any name, and the key as password"},
}
_TOLD = (
    "Every call shows an API key, as the header Authorization: Bearer KEY or X-API-Key: KEY; a browser asks for it as "
    "a password."
)
_REFUSALS = {
    "401": "No API key, or one that is not known, expired or revoked",
    "403": "An API key with other roles",
    "429": "More calls than the API key allows, or than can be answered soon; Retry-After says when to come again",
}


def secured(document: Mapping[str, Any], need_of: Callable[[str], Need]) -> dict[str, Any]:
    """Return a document with its security schemes. need_of: a path → what its route needs."""
    paths = {path: dict(_each_guarded(path, of, need_of(path))) for path, of in document["paths"].items()}
    components = {**document["components"], "securitySchemes": _SCHEMES}
    info = {**document["info"], "description": f"{document['info']['description']} {_TOLD}".strip()}
    return {**document, "info": info, "paths": paths, "components": components, "security": _either([])}


def _each_guarded(path: str, described: Mapping[str, Any], need: Need) -> Iterator[tuple[str, Any]]:
    """Yield the methods of a path, and unchanged what is said of all of them."""
    error = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error_of(path).__name__}"}}}
    for name, said in described.items():
        yield name, said if name == "parameters" else _guarded(said, need, error)


def _guarded(operation: Mapping[str, Any], need: Need, error: Any) -> dict[str, Any]:
    if need == OPEN:
        return {**operation, "security": []}
    roles: list[str] = [] if need == ANY_KEY else [need]
    words = "any API key" if need == ANY_KEY else f"an API key with the role {need}"
    refusals = {
        status: {"description": said, "content": error}
        for status, said in _REFUSALS.items()
        if roles or status != "403"
    }
    text = f"{operation.get('description', '')} Needs {words}.".strip()
    responses = dict(sorted({**operation["responses"], **refusals}.items()))
    return {**operation, "description": text, "responses": responses, "security": _either(roles)}


def _either(roles: list[str]) -> list[dict[str, list[str]]]:
    """Return the ways to show a key, of which one suffices; OpenAPI 3.1 lets a scheme name roles."""
    return [{scheme: roles} for scheme in _SCHEMES]
