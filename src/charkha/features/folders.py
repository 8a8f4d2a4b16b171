"""Columns that the folders of a file say, as Hive and Spark write them: `day=2024-05-01/shop=a/part-0.parquet`."""

from pathlib import Path
from urllib.parse import unquote

import polars as pl

from charkha.features.declared import DataError
from charkha.features.texts import from_text, words
from charkha.spec.fields import POLARS_TYPES
from charkha.spec.sources import Source

_NULL = "__HIVE_DEFAULT_PARTITION__"


def with_folders(source: Source, frame: pl.LazyFrame, path: Path, root: Path) -> pl.LazyFrame:
    """Return a file's rows with the declared fields that only its folders say. Raises DataError for an odd value."""
    said = folder_values(path, root)
    named = [name for name in source.fields if name in said]
    if not named:
        return frame
    there = frame.collect_schema().names()
    return frame.with_columns(_column(source, name, said[name], path) for name in named if name not in there)


def folder_values(path: Path, root: Path) -> dict[str, str | None]:
    """Return what the folders between a project's folder and a file say: name → text, None for null."""
    inner = path.relative_to(root) if path.is_relative_to(root) else path
    pairs = (folder.partition("=") for folder in inner.parts[:-1] if "=" in folder)
    return {unquote(name): None if text == _NULL else unquote(text) for name, _, text in pairs}


def _column(source: Source, name: str, text: str | None, path: Path) -> pl.Expr:
    kind = POLARS_TYPES[source.fields[name]]
    value = pl.select(from_text(pl.lit(text, pl.String()), kind, None, strict=False)).item()
    if value is None and text is not None:
        raise DataError(
            f"source {source.name!r}: {str(path)!r} cannot be read as declared: expected {words(source.fields[name])} "
            f"for {name!r} in the name of its folder {f'{name}={text}'!r}, got {text!r}. Mend the source's fields, or "
            "the folder"
        )
    return pl.lit(value, dtype=kind).alias(name)
