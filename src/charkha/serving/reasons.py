"""Why a score is what it is: the features that moved it most, each with what it added."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from charkha.bundles.bundle import Bundle
from charkha.serving.lineup import LineUp
from charkha.serving.prediction_log import Scored
from charkha.serving.routing import IndexArray
from charkha.serving.scoring import Answered
from charkha.spec.model import FloatArray

MOST_REASONS = 50


class Reason(msgspec.Struct, frozen=True):
    """A feature that moved a score."""

    feature: str
    value: float | str | None
    contribution: Annotated[float, Meta(description="What it added: to the log-odds of binary models, else the value.")]
    text: Annotated[str | None, Meta(description="What the definition says of it.")]


def reasons_of(
    lineup: LineUp, answered: Answered, rows: int, most: int, texts: Mapping[str, str]
) -> list[list[Reason]]:
    """Return the reasons of each of so many answered rows, those that moved most first; none where a constant answered.

    most: of a row. texts: of a feature by its full name, or of all of a view by that. Raises NotExplainable.
    """
    players = {player.version: player for player in lineup.players}
    reasons: list[list[Reason]] = [[] for _ in range(rows)]
    for number, version in enumerate(answered.versions):
        own = [row for row in range(rows) if answered.who is None or answered.who[row] == number]
        if version.cause is None and own:
            of_own = _reasons_of_version(players[version.version].bundle, version, own, most, texts)
            for row, each in zip(own, of_own, strict=True):
                reasons[row] = each
    return reasons


def rule_texts(lineup: LineUp) -> Mapping[str, Mapping[str, str]]:
    """Return of each version that may answer, by its rules' names, what the definition said of them."""
    answering = (lineup.champion, *lineup.challengers, *([lineup.former] if lineup.former else []))
    return {
        player.version: {rule.name: rule.reason for rule in player.bundle.manifest.rules if rule.reason}
        for player in answering
    }


def _reasons_of_version(
    bundle: Bundle, scored: Scored, rows: Sequence[int], most: int, texts: Mapping[str, str]
) -> list[list[Reason]]:
    """Return the reasons of some rows that a version scored. rows: their places in `scored`."""
    names, told = list(bundle.manifest.schema.names), texts_of(bundle, texts)
    parts, leading = strongest(bundle, scored.matrix[list(rows)], most)
    return [
        [
            Reason(names[at], _value(bundle, scored, row, at), float(part[at]), told[at])
            for at in places.tolist()
            if part[at] != 0
        ]
        for row, part, places in zip(rows, parts, leading, strict=True)
    ]


def strongest(bundle: Bundle, matrix: FloatArray, most: int) -> tuple[FloatArray, IndexArray]:
    """Return what each column added, float64 (rows, columns), and the places of those that did most, (rows, `most`).

    matrix: float64 (rows, columns). Raises NotExplainable.
    """
    parts = bundle.explainer.contributions(matrix)[:, :-1]
    return parts, np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :most]


def texts_of(bundle: Bundle, texts: Mapping[str, str]) -> list[str | None]:
    """Return what the definition says of each column: of the feature, or of its view."""
    return [texts.get(name) or texts.get(name.partition(".")[0]) for name in bundle.manifest.schema.names]


def _value(bundle: Bundle, scored: Scored, row: int, at: int) -> Any:
    """Return what a feature was, as it was given: text as text."""
    categorical = bundle.manifest.schema.categorical
    if at in categorical:
        return scored.text[categorical.index(at)][row]
    value = float(scored.matrix[row, at])
    return value if np.isfinite(value) else None
