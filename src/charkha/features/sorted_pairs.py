"""Places and values that are to lie in the online store, in files: given in any order, read back in that of places.

A B-tree that is filled in the order of its keys touches each page once; in no order, each of them again and again.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from attrs import define, field

from charkha.features.buckets import Buckets

Pairs = Sequence[tuple[bytes, bytes]]
_SCHEMA = pl.Schema({"place": pl.Binary(), "value": pl.Binary()})


@define(eq=False)
class SortedPairs:
    """Pairs in `count` files of a folder, each of which has a range of the places; no place is given twice.

    The ranges are as long as each other among the first pairs that are given: those should be like all others.
    """

    folder: Path
    count: int
    _bounds: pl.Series | None = None
    _files: Buckets = field(init=False)

    @_files.default
    def _in_ranges(self) -> Buckets:
        return Buckets(self.folder, ("place",), self.count, _SCHEMA)

    def add(self, pairs: Pairs) -> None:
        """Write pairs behind those that are there."""
        if not pairs:
            return
        places, values = zip(*pairs, strict=True)
        ordered = pl.DataFrame({"place": places, "value": values}, schema=_SCHEMA).sort("place")
        if self._bounds is None:
            self._bounds = ordered["place"].gather(np.arange(1, self.count) * ordered.height // self.count)
        ends = [0, *ordered["place"].search_sorted(self._bounds).to_list(), ordered.height]
        for number, (low, high) in enumerate(pairwise(ends)):
            if low < high:
                self._files.append(number, ordered[low:high])

    def read(self) -> Iterator[Pairs]:
        """Yield all pairs in the order of their places, some at a time, and remove their files."""
        for number in range(self.count):
            ordered = self._files.read(number).sort("place")
            self._files.delete(number)
            yield list(zip(ordered["place"].to_list(), ordered["value"].to_list(), strict=True))
