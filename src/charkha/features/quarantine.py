"""What becomes of pushed rows that break a contract: they are kept aside whole, and a person decides of them.

Every step is a decision in the ledger. A release that was cut short goes on where it was when it is asked for again:
the rows of a batch are in the log once, however often that happens.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from attrs import asdict, frozen

from charkha.clock import Clock, to_micros
from charkha.features.contracts import Violation, violations
from charkha.features.data_decisions import DISCARD, QUARANTINE, RELEASE, Action, NothingToDecide, Word, decide
from charkha.features.events import Row, RowLayout
from charkha.features.feed import Feed
from charkha.features.materialise import plain_values
from charkha.features.progress import remembered
from charkha.features.rows import frame_of_plain
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.storage.home import Home
from charkha.storage.ledger import Decision
from charkha.storage.quarantine import Ending, Held, QuarantineFull, Report

# Who sets a push aside: nobody decided it but the contract.
CONTRACT = "contract"


class BatchBreaksContract(Exception):
    """Pushed rows that break the contract of their source; nothing of them was applied.

    batch: under which id they are kept, or None when the quarantine is full, which `problem` says.
    """

    def __init__(self, source: str, batch: str | None, found: Sequence[Violation], problem: str = "") -> None:
        self.source, self.batch, self.violations = source, batch, tuple(found)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        kept = f"they are kept as {batch!r}: charkha data release {batch} --reason …" if batch else problem
        super().__init__(
            f"source {source!r}: {found[0].message}{more}. None of these rows was applied; {kept}. Or mend them and "
            "send them again"
        )


@frozen(eq=False)
class Gate:
    """Keeps pushed rows out that break the contract of their source."""

    sources: Mapping[str, Source]
    home: Home
    clock: Clock

    def check(self, source: str, rows: Sequence[Sequence[Any]]) -> None:
        """Raise BatchBreaksContract, with the batch in quarantine, unless it keeps its contract or was released.

        rows: as `Feed.push` takes them; those it refuses itself are left to it.
        """
        declared = self.sources.get(source)
        if declared is None or declared.contract is None or not declared.key:
            return
        plain = [tuple(to_micros(value) if isinstance(value, datetime) else value for value in row) for row in rows]
        frame = frame_of_plain(plain, polars_schema(declared.fields))
        needed = [*declared.key, *([declared.time] if declared.time else [])]
        found = violations(frame, declared, shares=False)
        if not found or any(frame[column].null_count() for column in needed):
            return
        name = _batch_id(source, plain)
        known = self.home.quarantine.find(name)
        if known is not None and known.state == "released":
            return
        report = Report(id=name, source=source, time_us=self.clock.now(), rows=len(plain), violations=plain_of(found))
        try:
            kept = self.home.quarantine.keep(report, frame)
        except QuarantineFull as error:
            raise BatchBreaksContract(source, None, found, str(error)) from None
        _decide_held(self.home, kept)
        raise BatchBreaksContract(source, name, found)


def release_batch(home: Home, feed: Feed, source: Source, name: str, word: Word) -> Decision:
    """Push the rows of a batch of a source although they break its contract; they are known from now on.

    Each is applied once, also when this was cut short before: then it goes on, with the word of who began it. A row
    whose key got another row since it began is left as that row has it. Raises UnknownBatch, NothingToDecide, BadName.
    """
    with home.quarantine.lock(name):
        held = _undecided(home, name)
        rows = plain_values(_as_declared(home.quarantine.rows(name), source)).rows()
        # What a release that was cut short has logged is in the state then, and so in what is remembered.
        feed.catch_up()
        now = _remembered(home, RowLayout.of(source), rows)
        ending = held.ending or Ending(
            state="releasing", time_us=word.time_us, actor=word.actor, reason=word.reason, before=now
        )
        home.quarantine.end(name, ending)
        decision = _decide(home, held.report, RELEASE, Word.of(ending))
        waiting = [row for row, before, after in zip(rows, ending.before, now, strict=True) if before == after]
        pushed = feed.push(source.name, waiting)
        result = {"accepted": pushed.accepted, "corrections": pushed.corrections, "duplicates": pushed.duplicates}
        home.quarantine.end(name, msgspec.structs.replace(ending, state="released", result=result))
    return decision


def discard_batch(home: Home, name: str, word: Word) -> Decision:
    """Delete the rows of a batch; its report stays. Raises UnknownBatch, NothingToDecide, BadName."""
    with home.quarantine.lock(name):
        held = _undecided(home, name)
        if held.ending is not None:
            raise NothingToDecide(
                f"batch {name!r} is being released, and may be in the log: charkha data release {name}"
            )
        ending = Ending(state="discarded", time_us=word.time_us, actor=word.actor, reason=word.reason)
        decision = _decide(home, held.report, DISCARD, word)
        home.quarantine.end(name, ending)
    return decision


def plain_of(found: Sequence[Violation], *, examples: bool = True) -> list[dict[str, Any]]:
    """Return violations as plain values for JSON."""
    plain = ({**asdict(violation), "share": violation.share, "message": violation.message} for violation in found)
    left_out = {"found"} if examples else {"found", "places", "examples"}
    return [{name: value for name, value in each.items() if name not in left_out} for each in plain]


def _batch_id(source: str, rows: list[Row]) -> str:
    """Return the id of rows: the same rows have the same, so that sending them again keeps them once."""
    return f"{source}-{hashlib.blake2b(msgspec.msgpack.encode(rows), digest_size=10).hexdigest()}"


def _as_declared(frame: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Return rows with the fields that the source has now; what they lack is null."""
    schema = polars_schema(source.fields)
    there = {name: pl.col(name) if name in frame.columns else pl.lit(None) for name in schema}
    return frame.select(there[name].cast(kind).alias(name) for name, kind in schema.items())


def _remembered(home: Home, layout: RowLayout, rows: Sequence[Row]) -> list[str | None]:
    """Return what the state knows of each row's key, as text."""
    with home.online.read() as state:
        known = [remembered(state, layout, row) for row in rows]
    return [content.hex() if content is not None else None for content in known]


def _undecided(home: Home, name: str) -> Held:
    """Return a batch of which nothing was decided to its end, with its keeping written in the ledger."""
    held = home.quarantine.get(name)
    if held.ending is not None and held.is_over:
        raise NothingToDecide(f"batch {name!r} was {held.state} by {held.ending.actor} already: {held.ending.reason}")
    _decide_held(home, held.report)
    return held


def _decide_held(home: Home, report: Report) -> Decision:
    broken = [f"{each['rows']} of {report.rows} rows break: {each['rule']}" for each in report.violations]
    return _decide(home, report, QUARANTINE, Word(CONTRACT, "; ".join(broken), report.time_us))


def _decide(home: Home, report: Report, action: Action, word: Word) -> Decision:
    """Write a decision of a batch, once for each time that it is kept. No value of a row gets into the ledger."""
    rules = [{name: violation[name] for name in ("rule", "rows")} for violation in report.violations]
    evidence = {"batch": report.id, "rows": report.rows, "violations": rules}
    return decide(home, report.source, f"{report.id}/{report.time_us}", action=action, word=word, evidence=evidence)
