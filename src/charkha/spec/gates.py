"""Gates: what a new model must show, offline, before it may serve anything."""

from attrs import frozen


@frozen
class AtLeast:
    """The metric's value on the test rows is no worse than `value` (no higher, for a metric where lower is better)."""

    metric: str
    value: float


@frozen
class BeatsChampion:
    """No worse than the champion on the same test rows: the interval of the paired difference must not lie below zero.

    Passes when there is no champion yet.
    """

    metric: str


@frozen
class BeatsRules:
    """Significantly better than the model's own rules alone, on the same test rows."""

    metric: str


@frozen
class BeatsTrivial:
    """Significantly better than always answering the training rows' mean, on the same test rows."""

    metric: str


@frozen
class NoSliceWorse:
    """In no slice of the model significantly worse than the champion on the same test rows.

    The level of 5 % is shared by all slices that have rows enough. Passes when there is no champion yet.
    """

    metric: str


@frozen
class Calibrated:
    """The expected calibration error (ten bins of equal count) is at most `max_error`."""

    max_error: float


@frozen
class SurvivesDrill:
    """Of incidents put into the model's own recent traffic, at least `share` are found in time, under their cause.

    kinds: of the catalogue, or declared with `ck.incident`; those that harm nobody must not be reported. times: of each
    kind so many, which hit other things at other times. window: of the traffic that is watched; what is usual is learnt
    from the four weeks before. Passes, and says that nothing could be drilled, while there is no such traffic.
    """

    kinds: tuple[str, ...]
    share: float = 1.0
    times: int = 3
    window: str = "7d"

    @property
    def name(self) -> str:
        """What the gate is called, with the kinds of incident."""
        return f"survives_drill {', '.join(self.kinds)}"


@frozen
class CostsAtMost:
    """A thousand predictions are expected to cost at most so many rupees, by the model's prices.

    What the champion's cost to serve of late, by the processor time of the workers, and how much longer or shorter this
    version takes for a row. Before anything was served, the model's own time alone. Does not pass while the price of a
    processor hour is not known.
    """

    inr_per_1000: float

    @property
    def name(self) -> str:
        """What the gate is called."""
        return "costs_at_most"


# Those that are checked on the test rows, and all there are.
TestedGate = AtLeast | BeatsChampion | BeatsRules | BeatsTrivial | NoSliceWorse | Calibrated
Gate = TestedGate | SurvivesDrill | CostsAtMost


def at_least(metric: str, value: float) -> AtLeast:
    """Gate: the metric reaches `value`."""
    return AtLeast(metric, value)


def beats_champion(metric: str) -> BeatsChampion:
    """Gate: not worse than the champion on the same rows."""
    return BeatsChampion(metric)


def beats_rules(metric: str) -> BeatsRules:
    """Gate: significantly better than the rules alone."""
    return BeatsRules(metric)


def beats_trivial(metric: str) -> BeatsTrivial:
    """Gate: significantly better than answering the mean."""
    return BeatsTrivial(metric)


def no_slice_worse(metric: str) -> NoSliceWorse:
    """Gate: not worse than the champion in any of the model's `slices`, on the same rows."""
    return NoSliceWorse(metric)


def calibrated(max_error: float) -> Calibrated:
    """Gate: predicted probabilities are those that happen, within `max_error`."""
    return Calibrated(max_error)


def survives_drill(*kinds: str, share: float = 1.0, times: int = 3, window: str = "7d") -> SurvivesDrill:
    """Gate: in drills on recent traffic, incidents of these kinds are found in time and under their cause."""
    return SurvivesDrill(kinds, share, times, window)


def costs_at_most(*, inr_per_1000: float) -> CostsAtMost:
    """Gate: a thousand predictions are expected to cost no more."""
    return CostsAtMost(inr_per_1000)
