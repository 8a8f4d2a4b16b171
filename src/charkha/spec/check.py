"""All faults of a definition at once, found before any data is read."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from charkha.spec.checks.models import model_faults
from charkha.spec.checks.sources import entity_faults, source_faults
from charkha.spec.checks.values import are_equal, strings
from charkha.spec.checks.views import view_faults
from charkha.spec.faults import Fault
from charkha.spec.model import Model
from charkha.spec.sources import Entity, Source
from charkha.spec.views import FeatureView

T = TypeVar("T")
Part = Entity | Source | FeatureView | Model


def check(models: Sequence[Model]) -> list[Fault]:
    """Return every fault of these models and all they are made of; an empty list when they can be used.

    Each part that several models share is checked once. Nothing is read from disk.
    """
    return list(dict.fromkeys(_faults(distinct(models))))


def _faults(models: list[Model]) -> Iterator[Fault]:
    entities, sources, views = all_entities(models), all_sources(models), all_views(models)
    for word, parts in (("entity", entities), ("source", sources), ("view", views), ("model", models)):
        yield from _name_clashes(word, parts)
    for entity in entities:
        yield from entity_faults(entity)
    for source in sources:
        yield from source_faults(source)
    for view in views:
        yield from view_faults(view)
    for model in models:
        yield from model_faults(model)


def all_views(models: Sequence[Model]) -> list[FeatureView]:
    """Return every view of these models, each once, in order of appearance."""
    return distinct([view for model in models for view in model.views])


def all_sources(models: Sequence[Model]) -> list[Source]:
    """Return every source that these models read, each once, in order of appearance."""
    found = [view.source for view in all_views(models)] + [getattr(model.label, "source", None) for model in models]
    return distinct([source for source in found if isinstance(source, Source)])


def all_entities(models: Sequence[Model]) -> list[Entity]:
    """Return every entity that these models describe, each once, in order of appearance."""
    return distinct([view.entity for view in all_views(models) if isinstance(view.entity, Entity)])


def distinct(items: Sequence[T]) -> list[T]:
    """Return items without equal ones, in order. They need not be hashable: a source holds a dict."""
    kept: list[T] = []
    for item in items:
        if not any(are_equal(item, other) for other in kept):
            kept.append(item)
    return kept


def _name_clashes(word: str, parts: Sequence[Part]) -> Iterator[Fault]:
    names = strings(part.name for part in parts)
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            remedy = "Rename all but one, or use the same object in every place."
            yield Fault(
                f"{word} {name!r}", "one definition under this name", f"{names.count(name)} different ones", remedy
            )
