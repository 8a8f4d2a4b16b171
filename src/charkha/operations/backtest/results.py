"""What a backtest showed: plain values, for tables, plots and `--json`."""

from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from charkha.operations.replay_summary import Interval

Outcome = Literal["promoted", "rejected", "failed"]


@frozen(kw_only=True)
class MonthScore:
    """The metric of what was served in a calendar month (UTC, "2013-04"), with its interval by days."""

    month: str
    metric: Interval


@frozen(kw_only=True)
class Retraining:
    """A training that a policy decided on. time: ISO 8601. version: what it made; None where it failed.

    why: the reason of the decision. outcome: what became of it, by the gates; detail: their words, or the error's.
    rows: that it learnt from. cpu_seconds: of fitting and testing. recalibrates: whether only the calibration of the
    champion was learnt anew, which is no retraining. updates: whether the champion went on learning.
    """

    time: str
    why: str
    outcome: Outcome
    detail: str = ""
    version: str | None = None
    rows: int = 0
    cpu_seconds: float = 0.0
    recalibrates: bool = False
    updates: bool = False


@frozen(kw_only=True)
class IncidentRow:
    """An incident that the diagnosis opened. remedy: what it says to do.

    answer: what the policy did while it was open: "retrained", "held a training", or "told".
    """

    id: str
    cause: str
    what: str
    culprit: str
    began: str
    opened: str
    closed: str | None
    remedy: str
    answer: str


@frozen(kw_only=True)
class Tried:
    """One policy with one window. overall: the mean of the months' metric, weighted by their labels; None without any.

    looks, look_cpu_seconds: of the diagnosis. money: what trainings and looks cost; None where no price is known.
    """

    policy: str
    window: str
    fixed: bool
    months: tuple[MonthScore, ...] = field(repr=False)
    overall: float | None
    retrainings: tuple[Retraining, ...] = field(repr=False)
    incidents: tuple[IncidentRow, ...] = field(repr=False)
    held: int = 0
    looks: int = 0
    train_cpu_seconds: float = 0.0
    look_cpu_seconds: float = 0.0
    money: float | None = None

    @property
    def trained(self) -> tuple[Retraining, ...]:
        """Its retrainings that made a version, without what only calibrated anew."""
        return tuple(each for each in self.retrainings if each.version is not None and not each.recalibrates)

    @property
    def promotions(self) -> int:
        """How many of its retrainings came to serve."""
        return sum(1 for each in self.trained if each.outcome == "promoted")


@frozen(kw_only=True)
class Backtest:
    """What all policies showed on the same past. since, until: ISO 8601; since is when the first champion is trained.

    first: what its gates said. labels: that the metric rests on. put_in: incidents of drills that were put in, in
    words. dataset_cpu_seconds: of making the table that all trainings share.
    """

    project: str
    model: str
    metric: str
    higher_is_better: bool
    since: str
    until: str
    predictions: int
    labels: int
    first: str
    put_in: tuple[str, ...]
    dataset_cpu_seconds: float
    tried: tuple[Tried, ...]

    def better_of(self, some: Sequence[Tried]) -> Tried | None:
        """Return the one with the best metric overall, of the same the one with fewer retrainings; None without any."""
        known = [each for each in some if each.overall is not None]
        sign = -1.0 if self.higher_is_better else 1.0
        return min(known, key=lambda each: (sign * (each.overall or 0.0), len(each.trained)), default=None)

    @property
    def best(self) -> Tried | None:
        """The one with the best metric."""
        return self.better_of(self.tried)

    @property
    def frugal(self) -> Tried | None:
        """The one that costs least of those within 1 % of the best metric."""
        best = self.best
        if best is None:
            return None
        near = [each for each in self.tried if (short := self.shortfall(each, best)) is not None and short <= NEAR]
        return min(near, key=lambda each: (len(each.trained), each.train_cpu_seconds))

    def shortfall(self, one: Tried, best: Tried) -> float | None:
        """Return how much worse one is than another, as a share of the other's metric; negative: better."""
        if one.overall is None or best.overall is None or best.overall == 0:
            return None
        worse = best.overall - one.overall if self.higher_is_better else one.overall - best.overall
        return worse / abs(best.overall)


# Nobody would choose a policy for less of a difference than this.
NEAR = 0.01
