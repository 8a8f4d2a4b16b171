"""A decision explained: in words, its evidence, what led to it, what followed, and what would have been otherwise.

What belongs together is found by what decisions name: the same version, the same training, the same incident, or each
other's keys. So decisions of kinds that are not known here are told as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from attrs import frozen

from charkha.bundles.manifest import Manifest
from charkha.bundles.store import BundleCorrupt, BundleStore, UnknownBundle
from charkha.clock import to_iso
from charkha.monitoring.diagnosis.documents import from_document
from charkha.operations.hindsight.as_of import LedgerAsOf
from charkha.operations.hindsight.otherwise import Otherwise, otherwise
from charkha.operations.wording import length_of, moment
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Decision, Incident, Ledger, Run

Kind = Literal["decision", "training", "version", "gate", "incident", "finding"]
# Of what led to a decision, and of what followed, so much is told.
MOST_LINKS = 40
# What is told elsewhere, or would fill pages.
_NOT_SHOWN = ("diagnosis", "document")


@frozen(kw_only=True)
class Link:
    """One thing that led to a decision, or followed from it. number: of a decision, else None."""

    time_us: int
    kind: Kind
    name: str
    words: str
    number: int | None = None


@frozen(kw_only=True)
class Explanation:
    """All that is told of a decision. evidence: what it rests on, name and value in words, in the order of names.

    left_out: how many links of those before and after are not told.
    """

    decision: Decision
    words: str
    evidence: tuple[tuple[str, str], ...]
    before: tuple[Link, ...]
    after: tuple[Link, ...]
    otherwise: Otherwise
    left_out: int = 0


def explain(home: Home, model: Model, decision: Decision, now_us: int) -> Explanation:
    """Explain a decision of a model by what the ledger, the bundles and the log have of it. Changes nothing."""
    past = LedgerAsOf(home.ledger, decision.sequence, decision.time_us)
    every = past.every(decision.model)
    names = {decision.key, *_named_in(decision.evidence)}
    before = sorted(
        (*_decided(every, names, decision, earlier=True), *_made(home, past, names, decision)),
        key=lambda link: (link.time_us, link.number or 0),
    )
    after = [*_decided(every, names, decision, earlier=False)]
    told_before, told_after = before[-MOST_LINKS:], after[:MOST_LINKS]
    return Explanation(
        decision=decision,
        words=in_words(decision),
        evidence=tuple(evidence_in_words(decision.evidence)),
        before=tuple(told_before),
        after=tuple(told_after),
        otherwise=otherwise(home, model, decision, now_us),
        left_out=len(before) + len(after) - len(told_before) - len(told_after),
    )


def in_words(decision: Decision) -> str:
    """Return a decision as a sentence: who, what, when and why."""
    what = decision.action.replace("_", " ")
    version = decision.evidence.get("version")
    about = f"{what} {version}" if isinstance(version, str) else what
    made = f", which made generation {decision.generation} of what serves" if decision.generation is not None else ""
    return f"{decision.actor} decided at {moment(decision.time_us)}: {about}{made}. {decision.reason}"


def evidence_in_words(evidence: Mapping[str, object], within: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and value of evidence, what lies within under "name.inner"; an estimate as one line."""
    for name, value in sorted(evidence.items()):
        full = f"{within}.{name}" if within else name
        if name in _NOT_SHOWN and isinstance(value, Mapping):
            continue
        if isinstance(value, Mapping) and not {"value", "low", "high"} <= value.keys():
            yield from evidence_in_words(value, full)
        else:
            yield full.removesuffix("_us"), _value_in_words(name, value)


def _value_in_words(name: str, value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        count = f", n {value['n']:,.0f}" if isinstance(value.get("n"), int | float) else ""
        return f"{_figure(value['value'])} ({_figure(value['low'])} to {_figure(value['high'])}{count})"
    if name.endswith("_us") and isinstance(value, int):
        return length_of(value) if name.startswith("patience") else to_iso(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(each if isinstance(each, str) else _plain(each) for each in value) or "none"
    return _figure(value) if isinstance(value, float) else str(value)


def _figure(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else "–"


def _plain(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _named_in(evidence: Mapping[str, object]) -> Iterator[str]:
    """Yield the versions, runs, incidents and keys that evidence names."""
    for name in ("version", "run_key", "incident", "proposal", "decision", "newer"):
        value = evidence.get(name)
        if isinstance(value, str):
            yield value
    for name in ("incidents", "over"):
        value = evidence.get(name)
        if isinstance(value, Sequence) and not isinstance(value, str):
            yield from (each for each in value if isinstance(each, str))


def _decided(every: Sequence[Decision], names: set[str], decision: Decision, *, earlier: bool) -> Iterator[Link]:
    """Yield the decisions that name the same things, before a decision or after it."""
    own = decision.evidence.get("version")
    ended = False
    for each in every:
        if each.sequence == decision.sequence or (each.sequence < decision.sequence) != earlier:
            continue
        bound = names & {each.key, *_named_in(each.evidence)}
        # Whoever takes the champion's place ends what a promotion began.
        replaced = not earlier and not ended and own is not None and each.evidence.get("champion") == own
        if bound or (replaced and each.generation is not None):
            ended = ended or bool(replaced and each.action in ("promote", "rollback"))
            yield _link(each)


def _link(decision: Decision) -> Link:
    words = f"{decision.action.replace('_', ' ')} by {decision.actor}: {decision.reason}"
    return Link(time_us=decision.time_us, kind="decision", name=decision.key, words=words, number=decision.sequence)


def _made(home: Home, past: LedgerAsOf, names: set[str], decision: Decision) -> Iterator[Link]:
    """Yield the training, version and gates behind a decision, the incidents that were open, and the findings."""
    runs = {run.key: run for run in past.runs(decision.model)}
    rows = [row for row in past.versions(decision.model) if row.version in names or row.run_key in names]
    for row in rows:
        run, order = runs.get(row.run_key), _order(past, decision.model, row.run_key)
        if order is not None and order.key not in names:
            yield _link(order)
        if run is not None:
            yield _trained(run, past)
        yield from _version(home, decision.model, row.version, row.created_us)
    known = {row.run_key for row in rows}
    yield from (_trained(run, past) for key, run in runs.items() if key in names - known)
    yield from (_incident(each) for each in past.incidents(decision.model) if _bears_on(each, names, decision))
    drifted = decision.evidence.get("drifted")
    for each in drifted if isinstance(drifted, Sequence) and not isinstance(drifted, str) else ():
        yield Link(time_us=decision.time_us, kind="finding", name="drift", words=str(each))


def _order(past: Ledger, model: str, run_key: str) -> Decision | None:
    """Return the decision that ordered a training; None of one by hand."""
    return next((each for each in past.decisions(model) if each.key == run_key), None)


def _trained(run: Run, past: Ledger) -> Link:
    used = [each for each in past.usage(run.model) if each.run == run.key and each.stage != "whole"]
    cpu = f", {sum(each.cpu_seconds for each in used):,.1f} s of processor time" if used else ""
    failed = f": {run.result.get('error', '')}" if run.status == "failed" else ""
    took = "" if run.finished_us is None else f" in {(run.finished_us - run.started_us) / 1e6:,.0f} s"
    words = f"{run.kind} {run.status}{took}{cpu}{failed}"
    return Link(time_us=run.started_us, kind="training", name=run.key, words=words)


def _version(home: Home, model: str, version: str, created_us: int) -> Iterator[Link]:
    try:
        manifest: Manifest = BundleStore(home.bundles).manifest(model, version)
    except (UnknownBundle, BundleCorrupt) as error:
        yield Link(time_us=created_us, kind="version", name=version, words=str(error))
        return
    lineage = manifest.lineage
    words = (
        f"{manifest.estimator.kind} on {lineage.rows:,} rows known at {moment(lineage.as_of_us)}, "
        f"dataset {lineage.fingerprint[:19]}"
    )
    yield Link(time_us=created_us, kind="version", name=version, words=words)
    for gate in manifest.gates:
        said = f"{'passed' if gate.passed else 'failed'}: {gate.reason}"
        yield Link(time_us=created_us, kind="gate", name=gate.name, words=said)


def _bears_on(incident: Incident, names: set[str], decision: Decision) -> bool:
    return incident.id in names or (incident.status == "open" and incident.began_us <= decision.time_us)


def _incident(incident: Incident) -> Link:
    words = f"{incident.status}, {incident.cause}: {from_document(incident.diagnosis).headline}"
    return Link(time_us=incident.opened_us, kind="incident", name=incident.id, words=words)
