"""The figures that the wheel has to show, each with its target, and what a run makes of them."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import msgspec
from attrs import frozen


@frozen
class Figure:
    """A figure: which step of the benchmark measures it, the target in words, and whether a value meets it."""

    step: str
    name: str
    target: str
    met_by: Callable[[float], bool]


@frozen
class Measured:
    """What a step found. met: where more than the value decides whether the target is met."""

    value: float
    note: str = ""
    met: bool | None = None


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure after a run. value: None where it was not measured, or is no finite number; then the note says so.

    holds: None where nobody asked for it in this run.
    """

    name: str
    value: float | int | None
    target: str
    holds: bool | None
    note: str = ""


def below(step: str, name: str, limit: float) -> Figure:
    """Return a figure that must stay below a limit."""
    return Figure(step, name, f"< {limit:g}", lambda value: value < limit)


def at_most(step: str, name: str, limit: float) -> Figure:
    """Return a figure that may reach a limit."""
    return Figure(step, name, f"<= {limit:g}", lambda value: value <= limit)


def at_least(step: str, name: str, limit: float) -> Figure:
    """Return a figure that must reach a limit."""
    return Figure(step, name, f">= {limit:g}", lambda value: value >= limit)


def exactly(step: str, name: str, wanted: float) -> Figure:
    """Return a figure that can only be right or wrong."""
    return Figure(step, name, f"= {wanted:g}", lambda value: value == wanted)


def in_words(step: str, name: str, target: str) -> Figure:
    """Return a figure whose target is more than a bound: the step says whether it is met, or it is only reported."""
    return Figure(step, name, target, lambda value: True)


FIGURES = (
    below("clone", "demo_seconds_with_installation", 360),
    below("demo", "demo_seconds", 180),
    exactly("demo", "demo_exit_status", 0),
    at_least("demo", "demo_retrainings_with_a_reason", 1),
    at_least("demo", "demo_promotions", 1),
    in_words("demo", "demo_rejections", ">= 1, or a written reason"),
    exactly("demo", "demo_months_of_served_beside_frozen_auc", 9),
    exactly("demo", "max_skew_of_counts_and_latest_values", 0),
    at_most("demo", "max_skew_of_other_features", 1e-9),
    in_words("honesty", "auc_on_shuffled_labels", "0.5 within its interval"),
    exactly("honesty", "planted_leak_null_share_by_known_time", 1),
    exactly("honesty", "planted_leak_tells_the_label_by_event_time", 1),
    exactly("kills", "server_kills_survived", 50),
    exactly("kills", "operator_kills_survived", 50),
    exactly("kills", "acknowledged_lost", 0),
    exactly("kills", "applied_twice", 0),
    exactly("kills", "features_unlike_the_log_after_kills", 0),
    exactly("serving", "failed_requests_over_hot_swaps", 0),
    below("serving", "rollback_seconds", 1),
    below("serving", "rollback_seconds_until_served", 1),
    exactly("clone", "make_test_exit_status", 0),
    below("clone", "make_test_seconds", 600),
    in_words("clone", "branch_coverage_percent", "reported"),
)


def judge(
    measured: Mapping[str, Measured],
    unmeasured: Mapping[str, str],
    figures: Sequence[Figure] = FIGURES,
    left_out: Container[str] = (),
) -> list[Claim]:
    """Return a claim for every figure. unmeasured: step → why it found nothing. left_out: steps nobody asked for.

    Raises KeyError for a measurement that is none of the figures, and for a figure that neither was measured nor has a
    reason why not.
    """
    unknown = measured.keys() - {figure.name for figure in figures}
    if unknown:
        raise KeyError(f"expected the names of figures, got {sorted(unknown)}")
    return [_claim(figure, measured.get(figure.name), unmeasured, left_out) for figure in figures]


def _claim(figure: Figure, found: Measured | None, unmeasured: Mapping[str, str], left_out: Container[str]) -> Claim:
    if found is None:
        holds = None if figure.step in left_out else False
        return Claim(figure.name, None, figure.target, holds, unmeasured[figure.step])
    holds = figure.met_by(found.value) if found.met is None else found.met
    if not math.isfinite(found.value):
        return Claim(figure.name, None, figure.target, holds, f"{found.value}; {found.note}".removesuffix("; "))
    return Claim(figure.name, found.value, figure.target, holds, found.note)


_HOLDS = {True: "yes", False: "NO", None: "not run"}


def claim_lines(claims: Sequence[Claim]) -> Iterator[str]:
    """Yield a table of claims, line by line."""
    yield f"{'claim':<46}{'value':>12}  {'target':<27}holds"
    for claim in claims:
        value = "-" if claim.value is None else f"{claim.value:.4g}"
        line = f"{claim.name:<46}{value:>12}  {claim.target:<27}{_HOLDS[claim.holds]}"
        yield f"{line:<96}{claim.note}".rstrip()


def claims_json(claims: Sequence[Claim]) -> str:
    """Return all claims as one line."""
    return msgspec.json.encode({"claims": claims}).decode()
