"""How far the champion has learnt, and whether it can go on from there."""

from attrs import frozen

from charkha.bundles.manifest import Manifest
from charkha.spec.model import Model
from charkha.training.update import learnt_until_us, why_not


@frozen
class Learnt:
    """When the newest row was asked for that a version has learnt from (µs). cannot: why it cannot go on, if so."""

    until_us: int
    cannot: str | None = None


def learnt_of(model: Model, manifest: Manifest) -> Learnt:
    """Return how far a version has learnt, under a definition."""
    return Learnt(learnt_until_us(manifest), why_not(model, manifest))
