"""The OpenAPI document as one page: what each route takes and answers, with a form to try it. Loads nothing else."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from attrs import frozen
from jinja2 import Environment, PackageLoader, Template

_TYPES = {"date-time": "time", "uuid": "id"}


@frozen
class Field:
    """One field of a body. kind: such as "integer or null"."""

    name: str
    kind: str


@frozen
class Operation:
    """One method of one path, as the page shows it. example: a body to begin with; empty where none is taken."""

    method: str
    path: str
    summary: str
    description: str
    fields: tuple[Field, ...]
    example: str
    responses: tuple[tuple[str, str], ...]

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return f"{self.method}-{self.path.strip('/').replace('/', '-')}"


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the page (HTML) of an OpenAPI document."""
    return _template().render(info=document["info"], operations=list(operations(document)))


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield every operation of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "parameters":
                continue
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield Operation(
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=operation.get("description", ""),
                fields=tuple(_fields(document, media)),
                example=json.dumps(media["example"], indent=2) if media else "",
                responses=tuple((status, said["description"]) for status, said in operation["responses"].items()),
            )


def _fields(document: Mapping[str, Any], media: Mapping[str, Any]) -> Iterator[Field]:
    if media:
        first = media["schema"]["oneOf"][0]
        name = first.get("$ref", "").rpartition("/")[2]
        properties = (document["components"]["schemas"][name] if name else first)["properties"]
        for field, schema in properties.items():
            yield Field(field, _kind(schema))


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return "object"
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    return _TYPES.get(schema.get("format", ""), str(schema.get("type", "anything")))


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("charkha.serving", "pages"), autoescape=True)
    return environment.get_template("docs.html.j2")
