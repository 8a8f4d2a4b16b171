"""What a training may gain: the loss of its incidents per day, as diagnosed, over a horizon, by the chance of recovery.

The chance is that of a proportion: of the earlier trainings whose fate is known, so many were promoted. Its interval is
Jeffreys', of 95 % (Brown, Cai and DasGupta, *Interval estimation for a binomial proportion*, Statistical Science 2001).
Where there was no loss that anybody measured or estimated, or no earlier training, the gain is unknown, and stays so.
"""

from collections.abc import Sequence
from math import isfinite

from attrs import frozen
from scipy.stats import beta

from charkha.monitoring.diagnosis.documents import from_document
from charkha.operations.retraining.cost import Cost, Figure
from charkha.operations.retraining.past import PastTraining
from charkha.operations.steps import Evidence
from charkha.operations.wording import count_of, metric_name
from charkha.spec.durations import DAY_US, HOUR_US, parse_duration
from charkha.spec.policies import Retrain
from charkha.storage.ledger import Incident


@frozen(kw_only=True)
class Gain:
    """What a training may gain. unit: of the loss, "INR", "cost" (of `ck.Costs`) or a metric's name.

    per_day: the loss of the incidents per day. chance: of recovery. concluded, promoted: earlier trainings. total: over
    `horizon`. None for what nobody knows.
    """

    unit: str
    per_day: Figure | None
    chance: Figure | None
    concluded: int
    promoted: int
    horizon: str

    @property
    def total(self) -> Figure | None:
        """The gain over the horizon; None unless both the loss and the chance are known."""
        if self.per_day is None or self.chance is None:
            return None
        days = parse_duration(self.horizon) / DAY_US
        loss, chance = self.per_day.times(days), self.chance
        return Figure(loss.value * chance.value, loss.low * chance.low, loss.high * chance.high)

    @property
    def words(self) -> str:
        """The gain in a few words, and how it comes about."""
        if self.per_day is None:
            return "unknown, for no diagnosis says what is lost"
        unit = self.unit if self.unit in ("INR", "cost") else f"of {metric_name(self.unit)}, summed over predictions,"
        lost = f"{self.per_day.words} {unit} a day over {self.horizon}"
        if self.chance is None:
            return f"unknown: {lost} are lost, and no earlier training says how likely it is to recover"
        odds = f"a chance of {self.chance.words}, for {self.promoted} of {count_of(self.concluded, 'earlier training')}"
        total = self.total.words if self.total else "unknown"
        return f"{total}: {lost}, by {odds} {'was' if self.promoted == 1 else 'were'} promoted"

    @property
    def plain(self) -> Evidence:
        """The same for the ledger."""
        figures = {"per_day": self.per_day, "chance": self.chance, "total": self.total}
        plain = {name: each.plain if each else None for name, each in figures.items()}
        return {"unit": self.unit, "horizon": self.horizon, "concluded": self.concluded, **plain}


def expected_gain(incidents: Sequence[Incident], past: Sequence[PastTraining], retrain: Retrain, now_us: int) -> Gain:
    """Return what a training that answers these incidents may gain; of several that hit the same, the largest loss."""
    losses = [found for each in incidents if (found := _per_day(each, retrain, now_us)) is not None]
    unit, per_day = max(losses, key=lambda found: (found[0] == "INR", found[1].value), default=("", None))
    concluded = [each for each in past if each.is_plain and each.fate in ("promoted", "given up")][1:]
    promoted = sum(each.fate == "promoted" for each in concluded)
    return Gain(
        unit=unit,
        per_day=per_day,
        chance=_proportion(promoted, len(concluded)),
        concluded=len(concluded),
        promoted=promoted,
        horizon=retrain.horizon,
    )


def does_not_pay(gain: Gain, cost: Cost) -> str | None:
    """Return in words that a training costs more than the most it may gain; None where it pays, or nobody knows."""
    if gain.unit != "INR" or gain.total is None or cost.inr is None or gain.total.high >= cost.inr.value:
        return None
    return f"it is expected to gain INR {gain.words}, and costs {cost.words}"


def _per_day(incident: Incident, retrain: Retrain, now_us: int) -> tuple[str, Figure] | None:
    """Return the unit and what is lost per day, between an onset as early and as late as it may have been."""
    diagnosis = from_document(incident.diagnosis)
    loss = diagnosis.loss
    if loss is None:
        return None
    price = retrain.inr_per_cost
    if loss.money is not None:
        unit, lost = ("cost", loss.money) if price is None else ("INR", loss.money * price)
    else:
        unit, lost = loss.metric, (loss.now - loss.usual) * loss.rows
    if not isfinite(lost) or lost <= 0:
        return None
    until_us = diagnosis.until_us or min(now_us, diagnosis.watched.until_us)
    onsets = (incident.began_us, diagnosis.earliest_us, diagnosis.latest_us)
    value, low, high = (lost / _days(until_us, incident.began_us if us is None else us) for us in onsets)
    return unit, Figure(value, min(low, value), max(high, value))


def _days(until_us: int, since_us: int) -> float:
    return max(until_us - since_us, HOUR_US) / DAY_US


def _proportion(successes: int, tries: int) -> Figure | None:
    if not tries:
        return None
    a, b = successes + 0.5, tries - successes + 0.5
    low, high = beta.ppf([0.025, 0.975], a, b)
    return Figure(successes / tries, 0.0 if successes == 0 else float(low), 1.0 if successes == tries else float(high))
