"""The online path in small: the state of one key made row by row, as the feed makes it, and read as serving reads it.

What it says of rows is what the code that serves makes of them, whatever the store that really served held.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from attrs import define, evolve, field

from charkha.features.filters import RowFilters
from charkha.features.keys import key_text
from charkha.features.materialise import plain_values
from charkha.features.online import fetch, online_columns
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.state import ViewState, view_digest
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineReader


@define(eq=False)
class MemoryState:
    """State in a dictionary, read and written as if it were in a store."""

    values: dict[bytes, bytes] = field(factory=dict)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key in the order asked."""
        return [self.values.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self.values[key] = value


def applied_state(view: FeatureView, source: Source, key: Mapping[str, Any], rows: pl.DataFrame) -> MemoryState:
    """Return the state of one key after its rows were applied in their order.

    source: as declared now. key: the entity's columns and their values. rows: of `read_rows`, of this key only.
    """
    state = MemoryState()
    filters = RowFilters.of(source, [view])
    how = evolve(ViewState.of(evolve(view, source=source), filters), digest=view_digest(view))
    text = key_text([key[column] for column in view.entity.keys])
    if text is not None:
        values = plain_values(rows.select(list(source.fields))).iter_rows()
        filtered = filters.applied(zip(values, rows["_first"], strict=True))
        times = rows.select("_event_us", "_known_us").iter_rows()
        for (row, first), known in zip(filtered, times, strict=True):
            how.apply(state, text, row, known, first=first)
    return state


def read_features(view: FeatureView, reader: OnlineReader, key: Mapping[str, Any], at_us: int) -> dict[str, Any]:
    """Return the features of one key at a time, as serving reads them: full name → value."""
    fields = {column: view.source.fields[column] for column in view.entity.keys}
    plan = FeaturePlan((view,), fields, "", {}, tuple(feature_names(view)))
    asked = {column: [key[column]] for column in view.entity.keys}
    columns = online_columns(plan, asked, fetch(plan, reader, asked), [at_us])
    return {name: columns[name][0] for name in plan.names}
