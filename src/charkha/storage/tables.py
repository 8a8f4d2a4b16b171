"""Tables: columnar files in named parts, written whole and replaced whole; derived from the log."""

from typing import Protocol

import polars as pl


class Tables(Protocol):
    """Tables such as "predictions/late_arrival", each a set of parts such as "2013-04-01"."""

    def write(self, table: str, part: str, frame: pl.DataFrame) -> None:
        """Write a part whole; the same part again replaces it, and readers see one or the other. Raises BadName."""
        ...

    def parts(self, table: str) -> list[str]:
        """Return the names of a table's parts, sorted; none for a table that is not there."""
        ...

    def read(self, table: str, part: str) -> pl.DataFrame:
        """Return one part. Raises UnknownPart."""
        ...

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all parts in the order of their names.

        A column that some parts lack is null there, and types widen where parts differ. Raises UnknownTable when
        there are no parts.
        """
        ...

    def delete(self, table: str, part: str) -> None:
        """Remove a part; one that is not there is left alone."""
        ...


class UnknownTable(LookupError):
    """A table that has no parts."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(table)

    def __str__(self) -> str:
        return f"table {self.table!r}: expected at least one part, found none. Nothing has been written to it yet."


class UnknownPart(LookupError):
    """A part that its table does not have."""

    def __init__(self, table: str, part: str) -> None:
        self.table, self.part = table, part
        super().__init__(table, part)

    def __str__(self) -> str:
        return f"table {self.table!r} has no part {self.part!r}. Its `parts` lists those it has."
