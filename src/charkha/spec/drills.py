"""Incidents of a user's own, for drills: a function that bends served rows, under a declared name."""

from collections.abc import Callable
from typing import Literal

import polars as pl
from attrs import frozen

# What is at fault, in the order in which a diagnosis asks: what each means is in docs/drills.md.
Cause = Literal["infrastructure", "skew", "source", "label", "concept", "prior", "population", "benign"]
CAUSES: tuple[Cause, ...] = ("infrastructure", "skew", "source", "label", "concept", "prior", "population", "benign")
# The kinds of incident that drills know; what each does is in docs/drills.md.
KINDS: tuple[str, ...] = (
    "adversarial_pattern",
    "bad_replica",
    "biased_label_delay",
    "category_rename",
    "clock_skew",
    "concept_gradual",
    "concept_in_one_slice",
    "concept_recurring",
    "concept_sudden",
    "constant",
    "duplicate_events",
    "error_burst",
    "holiday",
    "label_corruption",
    "label_outage",
    "late_events",
    "latency",
    "marketing_burst",
    "new_category",
    "new_segment",
    "null_flood",
    "population_shift_harmful",
    "population_shift_harmless",
    "prior_shift",
    "schema_change",
    "seasonal_shift",
    "skew_imputation",
    "skew_transform",
    "skew_window",
    "stale_store",
    "time_zone_shift",
    "unit_change",
    "wrong_artifact_announced",
    "wrong_artifact_silent",
    "wrong_join_key",
    "wrong_lookup_key",
)
# Between the names of two kinds that are put in together.
PAIR = "+"
Bend = Callable[[pl.DataFrame, float, int], pl.DataFrame]


@frozen(eq=False)
class DeclaredIncident:
    """An incident that a project declares; made by `charkha.incident`.

    bend: (rows, size, seed) → the same rows in the same order, some of their columns changed: `request.<field>`,
    features, `age.<view>`, `score`, `decision`, `latency_us`. Features that read a changed column are computed anew,
    and so are scores, unless the function changes these. Every column keeps its type, and no other one may change.
    """

    name: str
    bend: Bend
    cause: Cause
    harmful: bool
    every_row: bool
    within: str
    rows: int
    size: float


def incident(
    name: str,
    *,
    cause: Cause,
    harmful: bool = True,
    every_row: bool = True,
    within: str = "2h",
    rows: int = 200,
    size: float = 1.0,
) -> Callable[[Bend], DeclaredIncident]:
    """Declare an incident of one's own, written above the function that makes it.

    cause: what a diagnosis should call it. "source": the recomputed features are bent as well, for the sources are;
    of every other cause only what was served is. harmful: whether it must be found, `within` so long and so many rows
    that it hits. every_row: whether the function changes all rows it is given. size: how strong it is unless a drill
    says otherwise.
    """

    def declared(bend: Bend) -> DeclaredIncident:
        return DeclaredIncident(name, bend, cause, harmful, every_row, within, rows, size)

    return declared
