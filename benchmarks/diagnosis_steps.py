"""The steps of the diagnosis benchmark that look at the worlds: what is found of incidents, and of nothing."""

from collections.abc import Iterator, Sequence
from statistics import median

from claims import Measured
from diagnosis_aa import model_months
from diagnosis_bench import DENSE_ON, Bench
from diagnosis_cost import cost
from diagnosis_estimates import estimates
from diagnosis_looks import WATCHED_DAYS, Seen
from diagnosis_peers import peers
from suite import Found, Step

BROKEN = ("infrastructure", "skew", "source", "label")
DAYS_A_YEAR = 365.25


def drills(bench: Bench) -> Found:
    """Every kind of incident, at several sizes, in worlds and at times on which nothing was chosen."""
    shown, learnt = _must_be_found(bench.shown), _must_be_found(bench.learnt)
    for line in _table(shown):
        bench.tell(line)
    yield "harmful_found_within_their_window", _share([each.in_time for each in shown])
    found = [each for each in shown if each.in_time]
    yield "cause_right_of_those_found", _share([each.cause == each.expected for each in found])
    yield "culprit_named_first", _share([each.named for each in found if each.named is not None])
    wrong = [each for each in (*bench.shown, *bench.learnt) if each.expected in BROKEN and each.action == "retrain"]
    note = ", ".join(f"{each.kind} on {each.world}" for each in wrong)
    yield "retraining_proposed_on_broken_data", Measured(len(wrong), note)
    yield "harmful_found_where_it_was_learnt", _share([each.in_time for each in learnt])
    found = [each for each in learnt if each.in_time]
    yield "cause_right_where_it_was_learnt", _share([each.cause == each.expected for each in found])
    if bench.extent.smaller:
        first = {name: days[:1] for name, days in bench.extent.shown.items()}
        smaller = _must_be_found(bench.drilled(first, bench.extent.smaller))
        yield "harmful_of_half_the_size_found", _share([each.in_time for each in smaller])


def pairs(bench: Bench) -> Found:
    """Two incidents at once, one of which has to be found: neither may hide the other."""
    harmful = _must_be_found(bench.pairs)
    for each in harmful:
        if not each.in_time:
            bench.tell(f"    {each.world}: {each.kind} of {each.subject}: not found in {each.window_hours:.0f} h")
    yield "pairs_found_within_their_window", _share([each.in_time for each in harmful])
    found = [each for each in harmful if each.in_time]
    yield "cause_right_of_pairs_found", _share([each.cause == each.expected for each in found])


def weeks(bench: Bench) -> Found:
    """Weeks into which nothing was put, and those with a shift that harms nobody."""
    benign = [each for each in (*bench.shown, *bench.learnt) if each.expected == "benign"]
    for each in (*bench.natural, *benign):
        if each.after_hours is not None:
            what = f"{each.world}, day {each.day}, {each.kind or 'nothing'}"
            bench.tell(f"    {what}: after {each.after_hours:.0f} h, {each.cause}: {each.words}")
    quiet = [*bench.natural, *benign]
    years = WATCHED_DAYS * len(quiet) / DAYS_A_YEAR
    rang = _rang(quiet)
    note = f"{rang} in {years:.1f} years of hourly looks at one model"
    yield "alarms_of_a_model_year_without_incident", Measured(rang / years, note)
    yield "alarms_of_natural_weeks", Measured(_rang(bench.natural), f"of {len(bench.natural)} weeks")
    yield "alarms_of_benign_shifts", Measured(_rang(benign), f"of {len(benign)}")


def minutes(bench: Bench) -> Found:
    """How long it takes, at ten questions a minute, until a fault of every row of a feature is an incident."""
    seen = bench.dense(DENSE_ON)
    taken = [60 * each.after_hours for each in seen if each.after_hours is not None]
    right = sum(each.cause == each.expected for each in seen)
    note = f"{len(seen)} drills, looked at every ten minutes; the cause right in {right}"
    yield "median_minutes_to_detection_at_ten_a_minute", Measured(median(taken) if taken else float("inf"), note)
    yield "dense_drills_missed", Measured(len(seen) - len(taken), f"within {seen[0].window_hours:g} h")


def _must_be_found(seen: Sequence[Seen]) -> list[Seen]:
    return [each for each in seen if each.harmful]


def _rang(seen: Sequence[Seen]) -> int:
    return sum(each.after_hours is not None for each in seen)


def _share(right: Sequence[bool | None]) -> Measured:
    yes = sum(map(bool, right))
    return Measured(yes / len(right) if right else float("nan"), f"{yes} of {len(right)}")


def _table(seen: Sequence[Seen]) -> Iterator[str]:
    """Yield what was found of each kind: how many, how many of them under the right cause, how soon."""
    yield f"    {'kind':<28}{'drills':>8}{'in time':>9}{'cause':>7}{'culprit':>9}{'median h':>10}  otherwise called"
    for kind in sorted({each.kind for each in seen}):
        of_kind = [each for each in seen if each.kind == kind]
        found = [each for each in of_kind if each.in_time]
        hours = [each.after_hours for each in found if each.after_hours is not None]
        named = [each.named for each in found if each.named is not None]
        others = sorted({each.cause for each in found if each.cause != each.expected and each.cause})
        soon = f"{median(hours):.1f}" if hours else "-"
        culprit = f"{sum(named)}/{len(named)}" if named else "-"
        right = sum(each.cause == each.expected for each in found)
        yield f"    {kind:<28}{len(of_kind):>8}{len(found):>9}{right:>7}{culprit:>9}{soon:>10}  {', '.join(others)}"


STEPS = (
    Step("drills", "incidents put into recorded weeks", drills),
    Step("pairs", "two incidents at once", pairs),
    Step("weeks", "weeks in which nothing happened, and shifts that harm nobody", weeks),
    Step("minutes", "ten questions a minute", minutes),
    Step("months", "simulated months in which nothing happens", model_months),
    Step("estimates", "estimates made before labels were there", estimates),
    Step("cost", "what the check of a million rows costs", cost),
    Step("peers", "natural weeks and drills, given to other tools", peers),
)
