"""API keys: written once, revoked at most once, never deleted: what was decided of a key can be read for ever."""

import json
from typing import Any

from attrs import asdict
from sqlalchemy import Connection, Row, func, insert, select, update

from charkha.storage.ledger.errors import UnknownKey
from charkha.storage.ledger.schema import API_KEYS
from charkha.storage.ledger.values import ApiKey


def write_key(connection: Connection, key: ApiKey) -> None:
    """Write a new key; in the write transaction."""
    connection.execute(insert(API_KEYS).values(asdict(key) | {"roles": json.dumps(key.roles)}))


def end_key(connection: Connection, id_: str, time_us: int) -> None:
    """Write that a key is revoked, if it is not; in the write transaction. Raises UnknownKey."""
    find_key(connection, id_)
    still_used = (API_KEYS.c.id == id_) & API_KEYS.c.revoked_us.is_(None)
    connection.execute(update(API_KEYS).where(still_used).values(revoked_us=time_us))


def find_key(connection: Connection, id_: str) -> ApiKey:
    """Return one key. Raises UnknownKey."""
    row = connection.execute(select(API_KEYS).where(API_KEYS.c.id == id_)).first()
    if row is None:
        raise UnknownKey(id_)
    return _key(row)


def list_keys(connection: Connection) -> list[ApiKey]:
    """Return all keys, oldest first."""
    rows = connection.execute(select(API_KEYS).order_by(API_KEYS.c.created_us, API_KEYS.c.id))
    return [_key(row) for row in rows]


def count_keys(connection: Connection) -> tuple[int, int]:
    """Return how many keys were ever made and how many revoked: both only grow, so any change of keys changes them."""
    made, revoked = connection.execute(select(func.count(API_KEYS.c.id), func.count(API_KEYS.c.revoked_us))).one()
    return int(made), int(revoked)


def _key(row: Row[Any]) -> ApiKey:
    fields = row._asdict()
    return ApiKey(**fields | {"roles": tuple(json.loads(fields["roles"]))})
