"""A home as it was before a decision: the same reader of the world, a look, sees what was known then.

The ledger's rows are those before the decision, the tables' rows those known by its time. Nothing of it can be changed.
What is not kept as it was is said by `unseen`, in words.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import polars as pl
from attrs import evolve, field, frozen
from sqlalchemy import Connection

from charkha.monitoring.diagnosis.incidents import CLOSE, MERGE, OPEN, RENAME
from charkha.storage.home import Home
from charkha.storage.ledger import (
    KILL,
    REVIVE,
    ROLLBACK,
    Assignment,
    Decision,
    Deployment,
    Draft,
    Incident,
    IncidentStatus,
    Ledger,
    Run,
    UnknownVersion,
    Usage,
    VersionRow,
)
from charkha.storage.ledger.database import Database
from charkha.storage.ledger.deployments import champions
from charkha.storage.tables import Tables

# A row is known once this has come, of each table that has such a column; the first that is there counts.
KNOWN_BY = ("_label_known_us", "_at_us", "tile_us")


class WouldDecide(Exception):
    """What a step would have written into a ledger that nobody can write to."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        super().__init__(draft.key)


class _ReadOnly:
    """The database of a ledger of the past: read, never written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads."""
        with self._database.reading() as connection:
            yield connection

    def writing(self) -> NoReturn:
        """Refuse."""
        raise PermissionError("the past cannot be written")

    def close(self) -> None:
        """Leave the database to its owner."""


class LedgerAsOf(Ledger):
    """A ledger as it was before the decision `before` (its sequence), which was written at `time_us`.

    `decide` raises WouldDecide, whatever else writes raises PermissionError.
    """

    def __init__(self, ledger: Ledger, before: int, time_us: int) -> None:
        self._now, self._before, self._time_us = ledger, before, time_us
        self._decided: dict[str | None, list[Decision]] = {}  # also what came later; the past does not change
        self._database = _ReadOnly(ledger._database)  # type: ignore[assignment, arg-type]

    def decide(
        self, draft: Draft, *, deploy: Sequence[Assignment] | None = None, expect_generation: int | None = None
    ) -> Decision:
        """Raise WouldDecide, with the draft."""
        raise WouldDecide(draft)

    def decisions(self, model: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Decision]:
        """Return those that were there."""
        return [each for each in self.every(model) if after < each.sequence < self._before][:limit]

    def every(self, model: str | None) -> list[Decision]:
        """Return all decisions, those that came later as well."""
        if model not in self._decided:
            self._decided[model] = self._now.decisions(model)
        return self._decided[model]

    def decision(self, name: int | str) -> Decision:
        """Return one decision, also one that came later: who asks knows of it."""
        return self._now.decision(name)

    def deployments(self, model: str) -> list[Deployment]:
        """Return the generations that were made by then."""
        made = {each.generation for each in self.decisions(model)}
        return [each for each in super().deployments(model) if each.generation in made]

    def deployment(self, model: str) -> Deployment:
        """Return what served then."""
        found = self.deployments(model)
        return found[-1] if found else Deployment(model, 0, (), 0)

    def generations(self) -> dict[str, int]:
        """Return the newest generation of every model that was deployed by then."""
        made = [(each.model, each.generation) for each in self.decisions() if each.generation is not None]
        return dict(made)

    def champions(self, model: str) -> list[str]:
        """Return the champions one could go back through."""
        rollbacks = [each.generation for each in self.decisions(model) if each.action == ROLLBACK]
        return champions(self.deployments(model), {each for each in rollbacks if each is not None})

    def killed(self) -> dict[str, Decision]:
        """Return the models that were killed then."""
        newest = {each.model: each for each in self.decisions() if each.action in (KILL, REVIVE)}
        return {model: each for model, each in newest.items() if each.action == KILL}

    def runs(self, model: str | None = None, kind: str | None = None) -> list[Run]:
        """Return the runs that had begun, those that had not ended as running."""
        ordered = {each.key for each in self.every(model) if each.sequence >= self._before}
        begun = [each for each in super().runs(model, kind) if each.started_us <= self._time_us]
        return [self._as_it_was(each) for each in begun if each.key not in ordered]

    def _as_it_was(self, run: Run) -> Run:
        if run.finished_us is not None and run.finished_us <= self._time_us:
            return run
        return evolve(run, finished_us=None, status="running", result={})

    def versions(self, model: str) -> list[VersionRow]:
        """Return the versions whose training had ended; of one that no run made, those that were there."""
        ended = {each.key: each.status == "done" for each in self.runs(model)}
        every = {each.key for each in super().runs(model)}
        return [
            each
            for each in super().versions(model)
            if ended.get(each.run_key, each.run_key not in every and each.created_us <= self._time_us)
        ]

    def version(self, model: str, version: str) -> VersionRow:
        """Return one version of those. Raises UnknownVersion."""
        found = next((each for each in self.versions(model) if each.version == version), None)
        if found is None:
            raise UnknownVersion(model, version)
        return found

    def checkpoint(self, name: str) -> dict[str, Any] | None:
        """Return what is set now; nothing of a measurement that ended later."""
        found = super().checkpoint(name)
        later = found is not None and found.get("until_us", 0) > self._time_us
        return None if later else found

    def incidents(self, model: str | None = None) -> list[Incident]:
        """Return the incidents that had been found, as they were called and diagnosed then."""
        return list(self._incidents(model))

    def usage(
        self,
        model: str | None = None,
        *,
        kind: str | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> list[Usage]:
        """Return what was used by what had begun."""
        until_us = self._time_us if until_us is None else min(until_us, self._time_us)
        return super().usage(model, kind=kind, since_us=since_us, until_us=until_us)

    def _incidents(self, model: str | None) -> Iterator[Incident]:
        told: dict[object, list[Decision]] = {}
        for each in self.decisions(model):
            if each.action in (OPEN, RENAME, CLOSE, MERGE):
                told.setdefault(each.evidence.get("incident"), []).append(each)
        for incident in super().incidents(model):
            if decided := told.get(incident.id):
                yield _incident_as_told(incident, decided, self._time_us)


def _incident_as_told(incident: Incident, decided: Sequence[Decision], time_us: int) -> Incident:
    """Return an incident by the newest of what was decided of it."""
    last, known = decided[-1], decided[-1].evidence
    diagnosis = known.get("diagnosis")
    statuses: Mapping[str, IncidentStatus] = {CLOSE: "closed", MERGE: "merged"}
    status = statuses.get(last.action, "open")
    return evolve(
        incident,
        status=status,
        cause=str(known.get("cause", incident.cause)),
        culprit=str(known.get("culprit", incident.culprit)),
        closed_us=last.time_us if status != "open" else None,
        closed_by=incident.closed_by if status == "closed" else None,
        merged_into=incident.merged_into if status == "merged" else None,
        looked_us=min(incident.looked_us, time_us),
        seen_us=min(incident.seen_us, time_us),
        diagnosis=diagnosis if isinstance(diagnosis, Mapping) else incident.diagnosis,
    )


@frozen(eq=False)
class TablesAsOf:
    """Tables as far as their rows were known at a time."""

    tables: Tables
    time_us: int
    _known_by: tuple[str, ...] = field(default=KNOWN_BY)

    def parts(self, table: str) -> list[str]:
        """Return the names of all parts; some may have no rows."""
        return self.tables.parts(table)

    def read(self, table: str, part: str) -> pl.DataFrame:
        """Return the rows of a part that were known."""
        rows = self.tables.read(table, part)
        column = next((each for each in self._known_by if each in rows.columns), None)
        return rows if column is None else rows.filter(pl.col(column) <= self.time_us)

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all parts as far as they were known."""
        rows = self.tables.scan(table)
        names = rows.collect_schema().names()
        column = next((each for each in self._known_by if each in names), None)
        return rows if column is None else rows.filter(pl.col(column) <= self.time_us)

    def write(self, table: str, part: str, frame: pl.DataFrame) -> None:
        """Refuse."""
        raise PermissionError("the past cannot be written")

    def delete(self, table: str, part: str) -> None:
        """Refuse."""
        raise PermissionError("the past cannot be written")


def home_as_of(home: Home, decision: Decision) -> Home:
    """Return a home as it was when a decision was made, before it."""
    ledger = LedgerAsOf(home.ledger, decision.sequence, decision.time_us)
    return evolve(home, ledger=ledger, tables=TablesAsOf(home.tables, decision.time_us))
