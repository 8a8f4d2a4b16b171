"""Versions of models: their numbers, given out once per training, and what is known of each."""

import json
from typing import Any

from attrs import asdict
from sqlalchemy import Connection, Row, delete, func, insert, select

from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.errors import UnknownVersion
from charkha.storage.ledger.schema import VERSION_NUMBERS, VERSIONS
from charkha.storage.ledger.values import VersionRow


def number_version(connection: Connection, model: str, run_key: str) -> str:
    """Return the version of a training: the one it was given before, or the model's next; in the write transaction."""
    mine = (VERSION_NUMBERS.c.model == model) & (VERSION_NUMBERS.c.run_key == run_key)
    number = connection.execute(select(VERSION_NUMBERS.c.number).where(mine)).scalar()
    if number is None:
        largest = select(func.max(VERSION_NUMBERS.c.number)).where(VERSION_NUMBERS.c.model == model)
        number = (connection.execute(largest).scalar() or 0) + 1
        connection.execute(insert(VERSION_NUMBERS).values(model=model, run_key=run_key, number=number))
    return f"v{number}"


def write_version(connection: Connection, row: VersionRow) -> None:
    """Write what is known of a version, in place of what was; in the write transaction."""
    connection.execute(delete(VERSIONS).where(VERSIONS.c.model == row.model, VERSIONS.c.version == row.version))
    values = asdict(row, recurse=False) | {"tracking": canonical_json(row.tracking)}
    connection.execute(insert(VERSIONS).values(values))


def list_versions(connection: Connection, model: str) -> list[VersionRow]:
    """Return a model's versions, oldest first."""
    order = (VERSIONS.c.created_us, func.length(VERSIONS.c.version), VERSIONS.c.version)
    found = select(VERSIONS).where(VERSIONS.c.model == model).order_by(*order)
    return [_version(row) for row in connection.execute(found)]


def find_version(connection: Connection, model: str, version: str) -> VersionRow:
    """Return one version. Raises UnknownVersion."""
    found = select(VERSIONS).where(VERSIONS.c.model == model, VERSIONS.c.version == version)
    row = connection.execute(found).first()
    if row is None:
        raise UnknownVersion(model, version)
    return _version(row)


def _version(row: Row[Any]) -> VersionRow:
    fields = row._asdict()
    return VersionRow(**fields | {"tracking": json.loads(fields["tracking"])})
