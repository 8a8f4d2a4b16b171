"""How much a model keeps on disk, and what that costs a month."""

import os
from pathlib import Path

from attrs import frozen

from charkha.spec.prices import GB, Price, Prices


@frozen(kw_only=True)
class Stored:
    """What a model keeps now: its log, tables, bundles. month: what that costs a month, as long as it stays."""

    model: str
    bytes: int
    month: Price


def stored_bytes(folder: Path, models: list[str]) -> tuple[dict[str, int], int]:
    """Return how many bytes each model keeps under a home, and how many belong to none, such as the online state.

    A file is a model's when a folder on its way has the model's name, alone or as "model=<name>".
    """
    found, others = dict.fromkeys(models, 0), 0
    for path, _, files in os.walk(folder):
        parts = set(Path(path).relative_to(folder).parts)
        owner = next((each for each in models if parts & {each, f"model={each}"}), None)
        size = sum(_size(Path(path) / name) for name in files)
        if owner is None:
            others += size
        else:
            found[owner] += size
    return found, others


def stored(model: str, size: int, prices: Prices | None) -> Stored:
    """Return what keeping so many bytes costs a month."""
    table = prices or Prices()
    unknown = table.gb_stored_month is None and size > 0
    amount = 0.0 if table.gb_stored_month is None else size / GB * table.gb_stored_month
    return Stored(model=model, bytes=size, month=Price(amount, ("storage",) if unknown else (), table.currency))


def _size(path: Path) -> int:
    """Return how much of the disk a file takes: sparse ones take less than their length. 0 where it is gone."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
