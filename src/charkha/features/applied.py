"""The online path in small: the state of one key made row by row, as the feed makes it, and read as serving reads it.

What it says of rows is what the code that serves makes of them, whatever the store that really served held.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from attrs import evolve, frozen

from charkha.features.arrived import ArrivedRows
from charkha.features.events import RowLayout
from charkha.features.filters import RowFilters
from charkha.features.materialise import plain_values
from charkha.features.online import fetch, online_columns
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.state import ViewState, view_digest
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineReader


@frozen(eq=False)
class MemoryState:
    """State in a dictionary, read as if it were in a store."""

    values: Mapping[bytes, bytes]

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key in the order asked."""
        return [self.values.get(key) for key in keys]


def applied_state(view: FeatureView, source: Source, rows: pl.DataFrame) -> MemoryState:
    """Return the state of one key after its rows were applied in their order.

    source: as declared now. rows: of `read_rows`, of this key only.
    """
    filters = RowFilters.of(source, [view])
    how = evolve(ViewState.of(evolve(view, source=source), filters), digest=view_digest(view))
    values = plain_values(rows.select(list(source.fields))).iter_rows()
    applied = filters.applied(zip(values, rows["_first"], strict=True))
    arrived = ArrivedRows.of(RowLayout.of(source), applied, rows["_known_us"])
    return MemoryState(dict(how.changes(MemoryState({}), arrived)))


def read_features(view: FeatureView, reader: OnlineReader, key: Mapping[str, Any], at_us: int) -> dict[str, Any]:
    """Return the features of one key at a time, as serving reads them: full name → value."""
    fields = {column: view.source.fields[column] for column in view.entity.keys}
    plan = FeaturePlan((view,), fields, "", {}, tuple(feature_names(view)))
    asked = {column: [key[column]] for column in view.entity.keys}
    columns = online_columns(plan, asked, fetch(plan, reader, asked), [at_us])
    return {name: columns[name][0] for name in plan.names}
