"""A case for the diagnosis, as the home of a project has it: what is looked at, and the healthy history beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from attrs import evolve, frozen

from charkha.bundles.store import BundleStore
from charkha.engines.engine import Engine
from charkha.features.plan import plan_features
from charkha.monitoring.collect import collect
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incidents import OPEN, hit
from charkha.monitoring.drawn import MOST_ROWS, outside
from charkha.monitoring.kept import kept_tiles
from charkha.monitoring.performance import Span
from charkha.monitoring.recorded import SAMPLE, read_traffic
from charkha.monitoring.traffic import Traffic
from charkha.monitoring.verify import Recomputer
from charkha.operations.drills.rescoring import BundleRescore
from charkha.operations.history import HEALTHY_US, TooLittleHistory, choice_of, require_history, served_until
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.ledger import Incident, Ledger

__all__ = ["WINDOW_US", "OnStep", "Question", "TooLittleHistory", "case_of", "spans", "without"]

WINDOW_US = 7 * DAY_US
# An incident that has been open for longer is looked at no further back: its older evidence is in the ledger.
LONGEST_US = 28 * DAY_US

OnStep = Callable[[str], None]


@frozen(kw_only=True)
class Question:
    """What is to be looked at. now_us: where it ends. window_us, healthy_us: how long it and the history before are.

    sample: so many predictions are recomputed from the sources; 0 for none. profiles: whether features are looked at by
    the profiles that are kept, where these cover what was served: not of traffic that is to be bent. most_rows: so many
    predictions are looked at, a sample where there were more.
    """

    now_us: int
    window_us: int = WINDOW_US
    healthy_us: int = HEALTHY_US
    sample: int = SAMPLE
    profiles: bool = False
    most_rows: int = MOST_ROWS


def case_of(project: Project, model: Model, home: Home, question: Question, *, engine: Engine, on_step: OnStep) -> Case:
    """Return the case of a model; what was logged until now is collected first. on_step: is told what is being done.

    The window begins before every incident that is open, and those that are over are cut out of the history: what is
    healthy is learnt from neither. One that has been open for long is looked at for `LONGEST_US`, beside the history
    before it. Raises TooLittleHistory, and what `Recomputer.recompute` raises.
    """
    bundles = BundleStore(home.bundles)
    on_step("collecting what was served")
    collect(home, model, bundles)
    incidents = [_as_found(home.ledger, each, question) for each in home.ledger.incidents(model.name)]
    healthy, stretched = spans(question, incidents)
    watched = _bounded(stretched, question)
    cut = [Span(each.since_us, min(each.until_us, healthy.until_us)) for each in map(hit, incidents)]
    cut.append(Span(stretched.since_us, watched.since_us))
    both = Span(healthy.since_us, watched.until_us)
    on_step("reading what was served, and recomputing a sample of its features")
    with Recomputer.opened(project, model, home, engine) as recomputer:
        traffic = read_traffic(
            home,
            model,
            both,
            question.now_us,
            root=project.root,
            recomputer=recomputer if question.sample else None,
            sample=question.sample,
            cut=cut,
            most=question.most_rows,
        )
    traffic = without(traffic, cut)
    try:
        require_history(traffic, healthy)
    except TooLittleHistory as little:
        choice = _choice(home, model.name, question, incidents)
        raise TooLittleHistory(model.name, little.days, little.predictions, healthy, choice) from None
    kinds = {name: traffic.predictions.schema[name] for name in traffic.features}
    return Case(
        traffic=traffic,
        healthy=healthy,
        watched=watched,
        task=model.task,
        plan=plan_features(model),
        registered={row.version: row.digest for row in home.ledger.versions(model.name)},
        rescore=_rescore(traffic, model.name, bundles),
        segments=model.slices,
        kept=kept_tiles(home, model.name, bundles, both, cut, features=kinds) if question.profiles else None,
    )


def _choice(home: Home, model: str, question: Question, incidents: Sequence[Incident]) -> str:
    """Return what history there is, and which other choice of times would do."""
    served = served_until(home, model, question.now_us).to_frame()
    left = outside(served, "_at_us", [hit(each) for each in incidents if each.status != "open"])["_at_us"]
    given = (question.window_us, question.healthy_us)
    return choice_of(
        left,
        question.now_us,
        given,
        lambda window_us, healthy_us: spans(evolve(question, window_us=window_us, healthy_us=healthy_us), incidents)[0],
    )


def _as_found(ledger: Ledger, incident: Incident, question: Question) -> Incident:
    """Return an incident as of the look that found it, where later ones did not look back as far."""
    bounded_us = incident.opened_us - question.window_us + LONGEST_US
    if incident.status != "open" or question.now_us < bounded_us:
        return incident
    found = ledger.decision(f"{OPEN}:{incident.id}").evidence["diagnosis"]
    then = evolve(incident, diagnosis=cast(Mapping[str, object], found))
    return min(incident, then, key=lambda each: hit(each).since_us)


def _bounded(watched: Span, question: Question) -> Span:
    longest_us = max(LONGEST_US, question.window_us)
    return Span(max(watched.since_us, question.now_us - longest_us), watched.until_us)


def spans(question: Question, incidents: Sequence[Incident]) -> tuple[Span, Span]:
    """Return the healthy span and the watched one, which begins with the first incident that is open."""
    began = [hit(each).since_us for each in incidents if each.status == "open"]
    since_us = max(0, min([question.now_us - question.window_us, *(each // HOUR_US * HOUR_US for each in began)]))
    return Span(max(0, since_us - question.healthy_us), since_us), Span(since_us, question.now_us)


def without(traffic: Traffic, cut: Sequence[Span]) -> Traffic:
    """Return traffic without what was served, came and was told in some spans."""
    return evolve(
        traffic,
        predictions=outside(traffic.predictions, "_at_us", cut),
        arrivals=outside(traffic.arrivals, "_hour_us", cut),
        vitals=outside(traffic.vitals, "_minute_us", cut),
    )


def _rescore(traffic: Traffic, model: str, bundles: BundleStore) -> BundleRescore | None:
    """Return what scores by the bundles that served; None where one of them is not at hand."""
    served = traffic.predictions["version"].unique(maintain_order=True).to_list()
    known = set(bundles.versions(model))
    if not served or not known.issuperset(served):
        return None
    return BundleRescore({version: bundles.read(model, version) for version in reversed(served)})
