"""What a training costs, from what earlier ones took, and whether the budget of the period has room for it."""

from collections.abc import Sequence

from attrs import frozen

from charkha.operations.retraining.past import PastTraining
from charkha.operations.steps import Evidence
from charkha.operations.wording import count_of
from charkha.spec.durations import parse_duration
from charkha.spec.policies import Retrain

# So many of the newest measured trainings say what the next one takes.
NEWEST = 5


@frozen
class Figure:
    """An estimate, and the bounds it lies between."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Figure":
        """Return it in another unit. factor: not negative."""
        return Figure(self.value * factor, self.low * factor, self.high * factor)

    @property
    def words(self) -> str:
        """The estimate and its bounds, such as "1.2 (0.9 to 2)"."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    @property
    def plain(self) -> dict[str, float]:
        """The same for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


@frozen(kw_only=True)
class Cost:
    """What the next training takes: CPU-hours and, where their price is declared, INR; None for what nobody knows.

    measured: of how many earlier trainings.
    """

    cpu_hours: Figure | None
    inr: Figure | None
    measured: int

    @property
    def words(self) -> str:
        """The cost in a few words."""
        if self.cpu_hours is None:
            return "unknown, for no earlier training was measured"
        money = f", INR {self.inr.words}" if self.inr else ", its price unknown"
        earlier = f"as {count_of(self.measured, 'earlier training')} took"
        return f"{self.cpu_hours.words} CPU-hours{money}, {earlier}"

    @property
    def plain(self) -> Evidence:
        """The same for the ledger."""
        hours, inr = (each.plain if each else None for each in (self.cpu_hours, self.inr))
        return {"cpu_hours": hours, "inr": inr, "measured": self.measured}


def expected_cost(past: Sequence[PastTraining], retrain: Retrain, *, updates: bool = False) -> Cost:
    """Return what a training takes: the mean of the newest that were measured, between the least and the most.

    updates: what an update takes, of earlier updates.
    """
    alike = [each for each in past if (each.updates if updates else each.is_plain)]
    seconds = [each.cpu_seconds for each in alike if each.cpu_seconds is not None][-NEWEST:]
    if not seconds:
        return Cost(cpu_hours=None, inr=None, measured=0)
    hours = Figure(sum(seconds) / len(seconds), min(seconds), max(seconds)).times(1 / 3600)
    price = retrain.inr_per_cpu_hour
    return Cost(cpu_hours=hours, inr=None if price is None else hours.times(price), measured=len(seconds))


@frozen(kw_only=True)
class Spent:
    """What trainings and updates took within a period; updates are not counted in `trainings`.

    unmeasured: how many of all of these took nobody knows what.
    """

    trainings: int
    cpu_hours: float
    unmeasured: int

    @property
    def plain(self) -> Evidence:
        """The same for the ledger."""
        return {"trainings": self.trainings, "cpu_hours": self.cpu_hours, "unmeasured": self.unmeasured}


def spent(past: Sequence[PastTraining], retrain: Retrain, now_us: int) -> Spent:
    """Return what all trainings of the budget's period took, those by hand and of variants too."""
    since_us = now_us - parse_duration(retrain.budget_period)
    within = [each for each in past if each.began_us > since_us]
    measured = [each.cpu_seconds for each in within if each.cpu_seconds is not None]
    return Spent(
        trainings=sum(not each.updates for each in within),
        cpu_hours=sum(measured) / 3600,
        unmeasured=len(within) - len(measured),
    )


def over_budget(used: Spent, cost: Cost, retrain: Retrain, *, counts: bool = True) -> str | None:
    """Return in words why the budget has no room for one training more; None where it has, or none is declared.

    Where nobody knows what one takes, it is refused only once all is spent: else nobody would ever know.
    counts: whether it is a training by number; an update is not.
    """
    next_hours = cost.cpu_hours.value if cost.cpu_hours else 0.0
    unmeasured = f", {used.unmeasured} of them unmeasured" if used.unmeasured else ""
    within = f"within {retrain.budget_period}"
    if counts and retrain.budget_trainings is not None and used.trainings >= retrain.budget_trainings:
        return (
            f"the budget is {count_of(retrain.budget_trainings, 'training')} {within}, and {used.trainings} were made"
        )
    total = used.cpu_hours + next_hours
    budget_hours, price = retrain.budget_cpu_hours, retrain.inr_per_cpu_hour
    if budget_hours is not None and _exceeds(total, budget_hours, next_hours):
        made = f"{count_of(used.trainings, 'training')} took {used.cpu_hours:.3g}{unmeasured}"
        return f"the budget is {budget_hours:g} CPU-hours {within}: {made}, and the next costs {cost.words}"
    if retrain.budget_inr is not None and price is not None and _exceeds(total * price, retrain.budget_inr, next_hours):
        made = f"{count_of(used.trainings, 'training')} cost {used.cpu_hours * price:.3g}{unmeasured}"
        return f"the budget is INR {retrain.budget_inr:g} {within}: {made}, and the next costs {cost.words}"
    return None


def _exceeds(total: float, budget: float, upcoming: float) -> bool:
    return total > budget if upcoming else total >= budget
