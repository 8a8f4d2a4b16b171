"""From sources over views and features to models: who depends on what, as edges and as a Mermaid diagram."""

import re
from collections.abc import Iterator

import msgspec

from charkha.monitoring.catalogue_entries import Catalogue


class Edge(msgspec.Struct, frozen=True):
    """One thing that another is made of, such as `source trips` → `view traffic`; each named with its kind."""

    of: str
    makes: str


def edges_of(found: Catalogue) -> list[Edge]:
    """Return every edge once, in the order of the catalogue: of what is declared."""
    return list(dict.fromkeys(_edges(found)))


def _edges(found: Catalogue) -> Iterator[Edge]:
    declared = [feature for feature in found.features if feature.declared]
    names = {feature.name for feature in declared}
    for feature in declared:
        if feature.kind == "request":
            yield from (Edge(f"feature {read}", f"feature {feature.name}") for read in feature.reads if read in names)
        else:
            yield Edge(f"source {feature.source}", f"view {feature.part}")
            yield Edge(f"view {feature.part}", f"feature {feature.name}")
        yield from (Edge(f"feature {feature.name}", f"model {model}") for model in feature.models)


def mermaid(found: Catalogue) -> str:
    """Return the graph as the text of a Mermaid flowchart, for a page or an issue."""
    edges = edges_of(found)
    nodes = list(dict.fromkeys(node for edge in edges for node in (edge.of, edge.makes)))
    lines = ["flowchart LR"]
    lines += [f"  {_identifier(node)}{_shape(node)}" for node in nodes]
    lines += [f"  {_identifier(edge.of)} --> {_identifier(edge.makes)}" for edge in edges]
    return "\n".join(lines) + "\n"


def _identifier(node: str) -> str:
    """Return a name that Mermaid can read and that no other node has: what is not a letter is told by its number."""
    return re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0])}_", node)


def _shape(node: str) -> str:
    kind, _, name = node.partition(" ")
    text = name.replace('"', "'")
    return {"source": f'[("{text}")]', "view": f'["{text}"]', "model": f'{{{{"{text}"}}}}'}.get(kind, f'("{text}")')
