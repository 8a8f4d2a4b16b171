"""Checkpoints: how far a derived thing has come, by name."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.schema import CHECKPOINTS


def read_checkpoint(connection: Connection, name: str) -> dict[str, Any] | None:
    """Return a checkpoint, or None when there is none of that name."""
    value = connection.execute(select(CHECKPOINTS.c.value).where(CHECKPOINTS.c.name == name)).scalar()
    return None if value is None else json.loads(value)


def write_checkpoint(connection: Connection, name: str, value: Mapping[str, object]) -> None:
    """Write a checkpoint in place of the one that was; in the write transaction."""
    connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.name == name))
    connection.execute(insert(CHECKPOINTS).values(name=name, value=canonical_json(value)))
