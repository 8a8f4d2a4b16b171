"""The entries of the catalogue of features, as data: for the command line, and for whoever reads its JSON."""

from typing import Literal

import msgspec


class Nulls(msgspec.Struct, frozen=True):
    """The share of nulls, 0 to 1: when the champion was tested, and over the monitors' window; None if not measured."""

    tested: float | None
    now: float | None


class FeatureEntry(msgspec.Struct, frozen=True):
    """One feature. part: its view, or its group of request features.

    source, entity: where a view's feature is from; None for a request feature. reads: what a request feature reads.
    models: those that declare it. versions: model → the deployed versions that read it. nulls: by model. says: the
    feature in words, line by line. declared: whether the definition still has it, and not only a deployed version.
    otherwise: model → version → what the feature is there, in words, where that is not what the definition declares
    now; their null shares are of that.
    """

    name: str
    kind: Literal["window", "latest", "request"]
    part: str
    source: str | None
    entity: str | None
    reads: tuple[str, ...]
    models: tuple[str, ...]
    versions: dict[str, tuple[str, ...]]
    nulls: dict[str, Nulls]
    says: tuple[str, ...]
    declared: bool
    otherwise: dict[str, dict[str, str]] = {}


class StateSize(msgspec.Struct, frozen=True):
    """How large the online state of a view is. complete: False when there is more of it than was counted."""

    keys: int
    bytes: int
    complete: bool


class ViewEntry(msgspec.Struct, frozen=True):
    """One view. newest_known: of its source (ISO 8601); None without rows. declared: whether the definition has it.

    state: None when the online store has not built it. static: whether its rows have no time.
    """

    name: str
    source: str
    entity: str
    keys: tuple[str, ...]
    features: tuple[str, ...]
    models: tuple[str, ...]
    versions: dict[str, tuple[str, ...]]
    declared: bool
    newest_known: str | None
    state: StateSize | None
    static: bool = False


class Catalogue(msgspec.Struct, frozen=True):
    """All features of a project. unused_views: declared, and read by no model. idle_state: kept online for nobody."""

    project: str
    features: tuple[FeatureEntry, ...]
    views: tuple[ViewEntry, ...]
    unused_views: tuple[str, ...]
    idle_state: tuple[ViewEntry, ...]
