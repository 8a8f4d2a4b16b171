"""The ledger: deployments, decisions, versions, runs and checkpoints, in one database that all processes share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import URL, Connection

from charkha.storage.ledger.api_keys import count_keys, end_key, find_key, list_keys, write_key
from charkha.storage.ledger.checkpoints import read_checkpoint, write_checkpoint
from charkha.storage.ledger.database import Database, FencedDatabase
from charkha.storage.ledger.decisions import (
    append_decision,
    decision_at,
    find_decision,
    generations_by,
    list_decisions,
    newest_decision,
    newest_of,
    newest_sequence,
    verify_chain,
)
from charkha.storage.ledger.deployments import (
    champions,
    check_assignments,
    current_deployment,
    current_generations,
    list_deployments,
    write_deployment,
)
from charkha.storage.ledger.errors import StaleGeneration, UnknownDecision
from charkha.storage.ledger.incidents import list_incidents, write_incident
from charkha.storage.ledger.leases import Lease, check_term, read_lease, renew_lease, take_lease
from charkha.storage.ledger.production import check_deployments, count_uncovered
from charkha.storage.ledger.runs import end_run, list_runs, note_run, start_run
from charkha.storage.ledger.usage import Usage, add_usage, list_usage
from charkha.storage.ledger.values import (
    ApiKey,
    Assignment,
    Decision,
    Deployment,
    Draft,
    Incident,
    Revision,
    Run,
    RunStatus,
    VersionRow,
)
from charkha.storage.ledger.versions import find_version, list_versions, number_version, write_version

# What is decided of a model as a whole, whichever versions serve it.
KILL, REVIVE = "kill", "revive"
ROLLBACK = "rollback"
# A serving process is replaced: the evidence names it.
EJECT = "eject"


class Ledger:
    """Every method is one transaction; any number of threads and processes may call them at once.

    url: of a SQLite file, made and brought up to date when it is opened.
    sync: have the disk confirm each commit: safe against power failure, at a flush each. A killed process never loses
        a commit.
    Raises UnusableLedger for another kind of database, or one that a newer version of Charkha wrote.
    """

    def __init__(self, url: str | URL, *, sync: bool = False) -> None:
        self._database: Database | FencedDatabase = Database(url, sync=sync)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def fenced(self, name: str, term: Callable[[], int | None]) -> "Ledger":
        """Return this ledger for who writes under a lease: each write proves first that `term` still leads.

        While `term` gives None, nothing is proved. Every method that writes may raise LeaseLost then.
        """

        def fence(connection: Connection) -> None:
            if (mine := term()) is not None:
                check_term(connection, name, mine)

        fenced = Ledger.__new__(Ledger)
        fenced._database = FencedDatabase(self._database, fence)
        return fenced

    def lease(self, name: str) -> Lease | None:
        """Return who leads or led last; None where nobody ever did."""
        with self._database.reading() as connection:
            return read_lease(connection, name)

    def take_lease(self, name: str, mine: Lease, *, dead: Lease | None = None) -> Lease:
        """Take a lease where the last has lapsed, or is `dead`; returns the one that holds now, perhaps another's."""
        with self._database.writing() as connection:
            return take_lease(connection, name, mine, dead)

    def renew_lease(self, name: str, mine: Lease, until_us: int) -> Lease:
        """Let a lease last until then; a time that is past gives it up. Raises LeaseLost."""
        with self._database.writing() as connection:
            return renew_lease(connection, name, mine, until_us)

    def deployment(self, model: str) -> Deployment:
        """Return what serves a model now; generation 0 without assignments when it was never deployed."""
        with self._database.reading() as connection:
            return current_deployment(connection, model)

    def deployments(self, model: str) -> list[Deployment]:
        """Return all generations of a model, oldest first."""
        with self._database.reading() as connection:
            return list_deployments(connection, model)

    def champions(self, model: str) -> list[str]:
        """Return the champions one could go back through, the present one last; see `deployments.champions`."""
        with self._database.reading() as connection:
            rollbacks = generations_by(connection, model, ROLLBACK)
            return champions(list_deployments(connection, model), rollbacks)

    def generations(self) -> dict[str, int]:
        """Return the newest generation of every model that was ever deployed; cheap enough to ask all the time."""
        with self._database.reading() as connection:
            return current_generations(connection)

    def decide(
        self, draft: Draft, *, deploy: Sequence[Assignment] | None = None, expect_generation: int | None = None
    ) -> Decision:
        """Write a decision and, when `deploy` is given, the model's next generation: both or neither.

        A draft whose key is already in the ledger changes nothing and returns the decision that is there.
        expect_generation: the generation on which the decision rests; 0 for a model that was never deployed.
        Raises StaleGeneration when the current one is another, ValueError for assignments that cannot be, TypeError
        for evidence that JSON cannot say.
        """
        check_assignments(deploy or ())
        with self._database.writing() as connection:
            first = find_decision(connection, draft.key)
            if first is not None:
                return first
            current = current_deployment(connection, draft.model).generation
            if expect_generation not in (None, current):
                raise StaleGeneration(draft.model, expect_generation, current)
            if deploy is None:
                return append_decision(connection, draft, None)
            decision = append_decision(connection, draft, current + 1, deploy)
            write_deployment(connection, decision, deploy)
            return decision

    def decisions(self, model: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Decision]:
        """Return decisions in sequence, of one model if given, those above the sequence `after`, at most `limit`."""
        with self._database.reading() as connection:
            return list_decisions(connection, model, after, limit)

    def newest_sequence(self) -> int:
        """Return the sequence of the newest decision, 0 for none; cheap enough to ask all the time."""
        with self._database.reading() as connection:
            return newest_sequence(connection)

    def decision(self, name: int | str) -> Decision:
        """Return one decision, by its sequence or its key. Raises UnknownDecision."""
        with self._database.reading() as connection:
            found = find_decision(connection, name) if isinstance(name, str) else decision_at(connection, name)
        if found is None:
            raise UnknownDecision(name)
        return found

    def head(self) -> Decision | None:
        """Return the newest decision of all, whose hash covers those before; None where there is none."""
        with self._database.reading() as connection:
            return newest_decision(connection)

    def killed(self) -> dict[str, Decision]:
        """Return the models that are killed, each with the decision; cheap enough to ask all the time."""
        with self._database.reading() as connection:
            found = newest_of(connection, (KILL, REVIVE))
        return {model: decision for model, decision in found.items() if decision.action == KILL}

    def verify(self) -> int:
        """Check the whole chain of decisions, and that what they put into production stands; return their number.

        Raises BrokenChain and ChangedDeployment.
        """
        with self._database.reading() as connection:
            checked = verify_chain(connection)
            check_deployments(connection)
            return checked

    def uncovered_generations(self) -> int:
        """Return how many generations were decided before the chain covered what was in them."""
        with self._database.reading() as connection:
            return count_uncovered(connection)

    def next_version(self, model: str, run_key: str) -> str:
        """Return the version that a training makes, "v1", "v2", …; the same `run_key` always gets the same one."""
        with self._database.writing() as connection:
            return number_version(connection, model, run_key)

    def record_version(self, row: VersionRow) -> None:
        """Write what is known of a version, in place of what was known before."""
        with self._database.writing() as connection:
            write_version(connection, row)

    def versions(self, model: str) -> list[VersionRow]:
        """Return a model's versions, oldest first."""
        with self._database.reading() as connection:
            return list_versions(connection, model)

    def version(self, model: str, version: str) -> VersionRow:
        """Return one version. Raises UnknownVersion."""
        with self._database.reading() as connection:
            return find_version(connection, model, version)

    def begin_run(self, key: str, kind: str, model: str, time_us: int) -> Run:
        """Return the run of a key, begun now if it never was: one that is found may be running, done or failed."""
        with self._database.writing() as connection:
            return start_run(connection, key, kind, model, time_us)

    def finish_run(self, key: str, time_us: int, status: RunStatus, result: Mapping[str, object]) -> None:
        """Write how a run ended; the last word counts. Raises UnknownRun."""
        with self._database.writing() as connection:
            end_run(connection, key, time_us, status, result)

    def note_run(self, key: str, note: Mapping[str, object]) -> None:
        """Write how far a run is, in place of what was noted before; of one that has ended nothing is written."""
        with self._database.writing() as connection:
            note_run(connection, key, note)

    def runs(self, model: str | None = None, kind: str | None = None) -> list[Run]:
        """Return runs, of one model and kind if given, in the order of their beginning."""
        with self._database.reading() as connection:
            return list_runs(connection, model, kind)

    def checkpoint(self, name: str) -> dict[str, Any] | None:
        """Return what was set under a name, or None."""
        with self._database.reading() as connection:
            return read_checkpoint(connection, name)

    def set_checkpoint(self, name: str, value: Mapping[str, object]) -> None:
        """Set a JSON value under a name, in place of the one before."""
        with self._database.writing() as connection:
            write_checkpoint(connection, name, value)

    def create_api_key(self, key: ApiKey, draft: Draft) -> Decision:
        """Write a new API key and the decision to make it: both or neither."""
        with self._database.writing() as connection:
            write_key(connection, key)
            return append_decision(connection, draft, None)

    def revoke_api_key(self, id_: str, draft: Draft) -> Decision:
        """Write that an API key is revoked, from the draft's time on, and the decision: both or neither.

        One that was revoked stays as it is, and the decision of then is returned. Raises UnknownKey.
        """
        with self._database.writing() as connection:
            end_key(connection, id_, draft.time_us)
            return find_decision(connection, draft.key) or append_decision(connection, draft, None)

    def api_key(self, id_: str) -> ApiKey:
        """Return an API key. Raises UnknownKey."""
        with self._database.reading() as connection:
            return find_key(connection, id_)

    def api_keys(self) -> list[ApiKey]:
        """Return all API keys, oldest first, revoked and expired ones too."""
        with self._database.reading() as connection:
            return list_keys(connection)

    def api_keys_counted(self) -> tuple[int, int]:
        """Return how many API keys were ever made and revoked; cheap enough to ask all the time whether any changed."""
        with self._database.reading() as connection:
            return count_keys(connection)

    def incidents(self, model: str | None = None) -> list[Incident]:
        """Return incidents, of one model if given, in the order in which they were opened."""
        with self._database.reading() as connection:
            return list_incidents(connection, model)

    def revise_incidents(
        self, model: str, revise: Callable[[Sequence[Incident]], Sequence[Revision]]
    ) -> list[Incident]:
        """Write what becomes of a model's incidents, each with the decision that made it so, and return those written.

        revise: from all of the model's to those that change; called once, while nobody else can change them. Of a draft
        whose key is in the ledger already the first decision stands.
        """
        with self._database.writing() as connection:
            revisions = revise(list_incidents(connection, model))
            for each in revisions:
                write_incident(connection, each.incident)
                if each.draft is not None and find_decision(connection, each.draft.key) is None:
                    append_decision(connection, each.draft, None)
            return [each.incident for each in revisions]

    def record_usage(
        self, usages: Sequence[Usage], *, checkpoint: tuple[str, Mapping[str, object]] | None = None
    ) -> None:
        """Add what work used, and set a checkpoint (its name and value) that says from where: both or neither."""
        with self._database.writing() as connection:
            add_usage(connection, usages)
            if checkpoint is not None:
                write_checkpoint(connection, *checkpoint)

    def usage(
        self,
        model: str | None = None,
        *,
        kind: str | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> list[Usage]:
        """Return what work used that began in a span, of one model and kind if given, in the order of time."""
        with self._database.reading() as connection:
            return list_usage(connection, model, kind, since_us, until_us)
