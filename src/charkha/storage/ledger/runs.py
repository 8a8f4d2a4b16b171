"""Runs: long work that must be done once, and is found again after a crash."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.errors import UnknownRun
from charkha.storage.ledger.schema import RUNS
from charkha.storage.ledger.values import Run, RunStatus


def start_run(connection: Connection, key: str, kind: str, model: str, time_us: int) -> Run:
    """Return the run of a key, begun now if it never was; in the write transaction."""
    row = connection.execute(select(RUNS).where(RUNS.c.key == key)).first()
    if row is not None:
        return _run(row)
    values = {"key": key, "kind": kind, "model": model, "started_us": time_us, "status": "running", "result": "{}"}
    connection.execute(insert(RUNS).values(values))
    return Run(key, kind, model, time_us, None, "running", {})


def end_run(connection: Connection, key: str, time_us: int, status: RunStatus, result: Mapping[str, object]) -> None:
    """Write how a run ended; in the write transaction. Raises UnknownRun."""
    values = {"finished_us": time_us, "status": status, "result": canonical_json(result)}
    if connection.execute(update(RUNS).where(RUNS.c.key == key).values(values)).rowcount == 0:
        raise UnknownRun(key)


def note_run(connection: Connection, key: str, note: Mapping[str, object]) -> None:
    """Write how far a run is, if it has not ended; in the write transaction."""
    running = (RUNS.c.key == key) & (RUNS.c.status == "running")
    connection.execute(update(RUNS).where(running).values(result=canonical_json(note)))


def list_runs(connection: Connection, model: str | None, kind: str | None) -> list[Run]:
    """Return runs, of one model and kind if given, in the order of their beginning."""
    found = select(RUNS).order_by(RUNS.c.started_us, RUNS.c.key)
    if model is not None:
        found = found.where(RUNS.c.model == model)
    if kind is not None:
        found = found.where(RUNS.c.kind == kind)
    return [_run(row) for row in connection.execute(found)]


def _run(row: Row[Any]) -> Run:
    fields = row._asdict()
    return Run(**fields | {"result": json.loads(fields["result"])})
