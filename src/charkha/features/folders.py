"""Columns that the folders of a file say, as Hive and Spark write them: `day=2024-05-01/shop=a/part-0.parquet`."""

from pathlib import Path
from urllib.parse import unquote

import polars as pl

from charkha.features.declared import DataError
from charkha.spec.fields import TIME, polars_schema
from charkha.spec.sources import Source

_NULL = "__HIVE_DEFAULT_PARTITION__"


def with_folders(source: Source, frame: pl.LazyFrame, path: Path, root: Path) -> pl.LazyFrame:
    """Return a file's rows with the declared fields that only its folders say. Raises DataError for an odd value."""
    said = folder_values(path, root)
    schema = polars_schema(source.fields)
    named = [name for name in schema if name in said]
    if not named:
        return frame
    there = frame.collect_schema().names()
    return frame.with_columns(
        _column(source, name, schema[name], said[name], path) for name in named if name not in there
    )


def folder_values(path: Path, root: Path) -> dict[str, str | None]:
    """Return what the folders between a project's folder and a file say: name → text, None for null."""
    inner = path.relative_to(root) if path.is_relative_to(root) else path
    pairs = (folder.partition("=") for folder in inner.parts[:-1] if "=" in folder)
    return {unquote(name): None if text == _NULL else unquote(text) for name, _, text in pairs}


def _column(source: Source, name: str, kind: pl.DataType, text: str | None, path: Path) -> pl.Expr:
    value = pl.Series(name, [text], dtype=pl.String())
    try:
        typed = value if kind == TIME else _cast(value, kind)
    except pl.exceptions.PolarsError:
        raise DataError(
            f"source {source.name!r}: {str(path)!r} cannot be read as declared: expected {kind} for {name!r} in the "
            f"folder's name, got {text!r}. Mend the source's fields, or the folder"
        ) from None
    return pl.lit(typed.item(), dtype=typed.dtype).alias(name)


def _cast(value: pl.Series, kind: pl.DataType) -> pl.Series:
    if kind != pl.Boolean():
        return value.cast(kind)
    return value.str.to_lowercase().replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean())
