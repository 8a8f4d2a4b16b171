"""What became of earlier trainings: for which incidents, at what cost, and whether they were promoted."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from attrs import evolve, frozen

from charkha.operations.retraining.keys import is_of_update
from charkha.operations.rollout.trial import ABORT, RETRACT
from charkha.storage.ledger import Decision, Run

Fate = Literal["open", "promoted", "given up", "failed"]
TRAIN, PROMOTE, SUBSTITUTE = "train", "promote", "substitute"
# What ends the life of a version that was not promoted.
GIVING_UP = ("reject", "withdraw", RETRACT, ABORT)


@frozen(kw_only=True)
class PastTraining:
    """One training, by the operator or by hand.

    began_us: when it was decided on. incidents: those it was to answer. version: what it made, if it has. fate: of that
    version; ended_us: since when. cpu_seconds, wall_seconds: what it took, None where that was not measured.
    recalibrates, without, updates: of a version that calibrates another anew, lacks views, or goes on from another;
    of none of these where it is plain.
    """

    run_key: str
    began_us: int
    incidents: tuple[str, ...] = ()
    version: str | None = None
    fate: Fate = "open"
    ended_us: int | None = None
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    recalibrates: bool = False
    without: tuple[str, ...] = ()
    updates: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it learnt all anew, from all views."""
        return not self.recalibrates and not self.without and not self.updates


def past_trainings(
    decisions: Sequence[Decision], runs: Sequence[Run], metered: Mapping[str, float] = MappingProxyType({})
) -> tuple[PastTraining, ...]:
    """Return all trainings of a model, in the order of their beginning. decisions, runs: all of the model.

    metered: run key → processor seconds, where they were metered elsewhere than in the run's result.
    """
    decided = {each.key: each for each in decisions if each.action == TRAIN}
    began = {key: each.time_us for key, each in decided.items()} | {run.key: run.started_us for run in runs}
    by_key = {run.key: run for run in runs}
    found = [
        _past(key, began_us, decided[key].evidence if key in decided else {}, by_key.get(key), decisions)
        for key, began_us in began.items()
    ]
    found = [evolve(each, cpu_seconds=metered.get(each.run_key, each.cpu_seconds)) for each in found]
    return tuple(sorted(found, key=lambda each: each.began_us))


def _past(
    key: str, began_us: int, evidence: Mapping[str, object], run: Run | None, decisions: Sequence[Decision]
) -> PastTraining:
    result = run.result if run else {}
    version = result.get("version")
    fate, ended_us = _fate(run, version, decisions)
    return PastTraining(
        run_key=key,
        began_us=began_us,
        incidents=_names(evidence.get("incidents")),
        version=version if isinstance(version, str) else None,
        fate=fate,
        ended_us=ended_us,
        cpu_seconds=_number(result.get("cpu_seconds")),
        wall_seconds=_number(result.get("wall_seconds")),
        recalibrates=evidence.get("recalibrates_since_us") is not None,
        without=_names(evidence.get("without")),
        updates=is_of_update(key),
    )


def _fate(run: Run | None, version: object, decisions: Sequence[Decision]) -> tuple[Fate, int | None]:
    if run is not None and run.status == "failed":
        return "failed", run.finished_us
    about = [each for each in decisions if version is not None and each.evidence.get("version") == version]
    for each in about:
        if each.action in (PROMOTE, SUBSTITUTE):
            return "promoted", each.time_us
    ends = [each.time_us for each in about if each.action in GIVING_UP]
    return ("given up", ends[-1]) if ends else ("open", None)


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
