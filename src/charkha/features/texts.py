"""Values that are written as text, in CSV, in a folder's name or in a database without such a type: read strictly.

A time is ISO 8601 unless a format is given: which of two numbers is the day cannot be told from a column.
"""

from datetime import datetime

import polars as pl

from charkha.spec.fields import TIME, FieldType

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET = "(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_ISO = rf"^{_DAY}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]+)?)?{_OFFSET}?)?$"
_PLAIN = "2024-05-01T12:30:00"  # as most times are written: Polars reads them three times as fast as any other
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def from_text(text: pl.Expr, kind: pl.DataType, written: str | None, *, strict: bool) -> pl.Expr:
    """Return text as a declared type; what is none of it fails, or, unless strict, is null.

    No text at all is null, unless text is declared.
    written: the format of times, as Polars has it; ISO 8601 unless given. A time without an offset is UTC.
    """
    if kind == pl.String():
        return text
    text = pl.when(text != "").then(text)
    if kind == pl.Boolean():
        return _boolean(text, strict=strict)
    if kind == TIME:
        return _iso(text, strict=strict) if written is None else _time(text, written, strict=strict)
    return text.cast(kind, strict=strict)


def words(kind: FieldType, written: str | None = None) -> str:
    """Return what text of a declared type must be, in words. written: the format of times."""
    if kind is datetime:
        return f"a time as {written!r}" if written else "a time such as 2026-02-11 or 2026-02-11T08:30:00Z"
    return "true or false" if kind is bool else kind.__name__


def _boolean(text: pl.Expr, *, strict: bool) -> pl.Expr:
    spelt = text.str.to_lowercase()
    if strict:
        return spelt.replace_strict({**_BOOLEANS, None: None}, return_dtype=pl.Boolean())
    return spelt.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean())


def _time(text: pl.Expr, written: str, *, strict: bool) -> pl.Expr:
    return text.str.to_datetime(written, time_unit="us", time_zone="UTC", strict=strict)


def _iso(text: pl.Expr, *, strict: bool) -> pl.Expr:
    with_t = text.str.replace(" ", "T", literal=True)
    is_iso = text.str.contains(_ISO)
    is_plain = is_iso & (text.str.len_bytes() == len(_PLAIN)) & ~text.str.contains(f"{_OFFSET}$")
    plain = _time(pl.when(is_plain).then(with_t), "%Y-%m-%dT%H:%M:%S", strict=strict)
    # The parser would also take 2024-5-1, which is not ISO.
    other = pl.when(is_iso & ~is_plain).then(_whole(with_t)).when(~is_iso).then(pl.lit("none"))
    return pl.coalesce(plain, _time(other, "%Y-%m-%dT%H:%M:%S%.f%#z", strict=strict))


def _whole(iso: pl.Expr) -> pl.Expr:
    """Return ISO texts with all their parts: a day begins at midnight, a minute with its first second, and in UTC."""
    timed = pl.when(iso.str.len_bytes() == len("2024-05-01")).then(iso + "T00:00:00").otherwise(iso)
    exact = timed.str.replace(r"T([0-9]{2}:[0-9]{2})(Z|[+-]|$)", "T${1}:00${2}")
    return pl.when(exact.str.contains(f"T.*{_OFFSET}$")).then(exact).otherwise(exact + "Z")
