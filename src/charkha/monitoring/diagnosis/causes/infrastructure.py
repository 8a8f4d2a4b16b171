"""Servers, stores, clocks and artifacts: told by identities and counters, before anything is asked of the data."""

from collections.abc import Container, Iterator, Sequence

from charkha.monitoring.diagnosis.causes.silence import stopped
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.service import is_worth_telling
from charkha.monitoring.diagnosis.signal import Signal
from charkha.spec.durations import HOUR_US

# How much more an identity is worth than any statistic.
CERTAIN = 1_000.0
# By how much a share of a replica's rows has to differ from that of the others to be worth somebody's attention.
WORTH = 0.15
# That no question sees a newer row has by chance a probability of one in twenty: e^-3.
LIKELY_MISSED = 3.0
# For so long one waits for ages to say why values are earlier ones.
UNDECIDED_US = 2 * HOUR_US


def infrastructure_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what may be wrong with what serves."""
    yield from _artifacts(evidence)
    yield from _replicas(evidence)
    yield from _stale(evidence)
    yield from _server(evidence)


def _artifacts(evidence: Evidence) -> Iterator[Hypothesis]:
    announced = evidence.of("digest")
    for signal in announced:
        kind = f"another artifact than the registered one answers as {signal.subject}"
        yield _certain(kind, _owner(evidence, signal), [signal])
    for signal in evidence.of("replay") if not announced else ():
        owner = _owner(evidence, signal)
        what = f"replica {signal.subject}" if owner.replicas else f"version {signal.subject}"
        yield _certain(f"the scores of {what} are not those of the registered artifact", owner, [signal])


def _owner(evidence: Evidence, signal: Signal) -> Culprit:
    replicas = evidence.case.traffic.predictions["replica"].unique().to_list()
    return Culprit(replicas=signal.subject) if signal.subject in replicas else Culprit(versions=signal.subject)


def _certain(kind: str, culprit: Culprit, signals: Sequence[Signal]) -> Hypothesis:
    return Hypothesis(cause="infrastructure", kind=kind, culprit=culprit, support=CERTAIN, evidence=tuple(signals))


def _replicas(evidence: Evidence) -> Iterator[Hypothesis]:
    for signal in evidence.of("clock"):
        kind = f"the clock of replica {signal.subject} is wrong"
        yield Hypothesis(
            cause="infrastructure",
            kind=kind,
            culprit=Culprit(replicas=signal.subject),
            support=CERTAIN,
            evidence=(signal,),
        )
    by_replica: dict[str, list[Signal]] = {}
    for signal in evidence.of("replica"):
        if abs(signal.now - signal.usual) < WORTH:
            continue
        by_replica.setdefault(signal.subject, []).append(signal)
    for replica, signals in by_replica.items():
        yield Hypothesis(
            cause="infrastructure",
            kind=f"replica {replica} answers otherwise than the others",
            culprit=Culprit(replicas=replica),
            support=sum(signal.evidence for signal in signals),
            evidence=tuple(signals),
        )


def _stale(evidence: Evidence) -> Iterator[Hypothesis]:
    """A store that is not written: features are older, while the rows of their source come as they always did."""
    disturbed = {signal.subject for signal in evidence.of("arrivals", "late")}
    disturbed |= {view.source.name for view in evidence.case.plan.views if stopped(evidence, view.source.name)}
    told = [(signal.subject, signal) for signal in evidence.of("age")]
    skewed = [(view, signal) for signal in evidence.of("skew") if (view := evidence.view_of(signal.subject))]
    older = {view for view, signal in told if _is_stale(evidence, view, signal, disturbed)}
    older |= {view for view, signal in skewed if is_behind(evidence, view, signal)}
    told += skewed
    still = [signal for view, signal in told if view in older]
    if not still:
        return
    views = tuple(sorted(older))
    sources = tuple(dict.fromkeys(evidence.source_of(view) for view in views))
    yield Hypothesis(
        cause="infrastructure",
        kind=f"the online store is stale: what it holds of {', '.join(views)} grows older",
        culprit=Culprit(sources=sources, features=views),
        support=sum(min(signal.evidence, 100.0) for signal in still),
        evidence=tuple(still),
    )


def _is_stale(evidence: Evidence, view: str, signal: Signal, disturbed: Container[str]) -> bool:
    source = evidence.source_of(view)
    if source in disturbed or not evidence.is_fed(source, signal.began_us):
        return False
    if evidence.comes_late(source, signal.began_us):
        return False
    still = evidence.stillness(view)
    return still is not None and still.stands_still


def is_behind(evidence: Evidence, view: str, skew: Signal) -> bool:
    """Say whether what is served are earlier values of the same key because nothing newer is stored of any.

    That something is wrong is known by then, and that the source was fed, for the recomputed values are newer. So it
    only has to be more likely than by chance that no question saw a newer row since.
    """
    if skew.pattern != "earlier":
        return False
    still = evidence.stillness(view)
    return still is not None and still.newest_us <= skew.began_us and still.missed >= LIKELY_MISSED


def may_be_behind(evidence: Evidence, view: str, skew: Signal) -> bool:
    """Say whether ages do not tell yet why values are earlier: a store that stands still, or a wrong lookup."""
    if skew.pattern != "earlier" or evidence.case.watched.until_us - skew.began_us >= UNDECIDED_US:
        return False
    still = evidence.stillness(view)
    return still is not None and still.newest_us <= skew.began_us


def _server(evidence: Evidence) -> Iterator[Hypothesis]:
    """How often and how soon a server answers: one fault, for calls that take long fail, and are answered otherwise."""
    words = {
        "errors": "calls fail",
        "fallbacks": "the model fails, and the fallback answers",
        "timeouts": "answers come too late",
        "latency": "answers take longer",
        "sheds": "calls are refused for overload",
    }
    found = [signal for check in words for signal in evidence.of(check) if is_worth_telling(evidence.case, signal)]
    if found:
        kinds = dict.fromkeys(words[signal.check] for signal in found)
        yield Hypothesis(
            cause="infrastructure",
            kind="; ".join(kinds),
            culprit=Culprit(replicas=tuple(signal.subject for signal in found if signal.subject)),
            support=sum(min(signal.evidence, 100.0) for signal in found),
            evidence=tuple(found),
        )
