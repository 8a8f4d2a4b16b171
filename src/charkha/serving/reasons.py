"""Why a score is what it is: the features that moved it most, each with what it added."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from charkha.bundles.bundle import Bundle
from charkha.serving.prediction_log import Scored

MOST_REASONS = 50


class Reason(msgspec.Struct, frozen=True):
    """A feature that moved a score."""

    feature: str
    value: float | str | None
    contribution: Annotated[float, Meta(description="What it added: to the log-odds of binary models, else the value.")]
    text: Annotated[str | None, Meta(description="What the definition says of it.")]


def reasons_of(
    bundle: Bundle, scored: Scored, rows: Sequence[int], most: int, texts: Mapping[str, str]
) -> list[list[Reason]]:
    """Return the reasons of some rows that a version scored, those that moved most first.

    rows: their places in `scored`. most: of a row. texts: of a feature by its full name, or of all of a view by that.
    Raises NotExplainable.
    """
    columns = bundle.manifest.schema.columns
    names = [column.name for column in columns]
    parts = bundle.explainer.contributions(scored.matrix[list(rows)])[:, :-1]
    leading = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :most]
    told = [texts.get(name) or texts.get(name.partition(".")[0]) for name in names]
    return [
        [
            Reason(names[at], _value(bundle, scored, row, at), float(part[at]), told[at])
            for at in places.tolist()
            if part[at] != 0
        ]
        for row, part, places in zip(rows, parts, leading, strict=True)
    ]


def _value(bundle: Bundle, scored: Scored, row: int, at: int) -> Any:
    """Return what a feature was, as it was given: text as text."""
    categorical = bundle.manifest.schema.categorical
    if at in categorical:
        return scored.text[categorical.index(at)][row]
    value = float(scored.matrix[row, at])
    return value if np.isfinite(value) else None
