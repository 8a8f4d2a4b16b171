"""What the gate of drills says of drills that were made; `tests/cli/test_drill.py` has them made."""

from typing import Any

import pytest

from charkha.monitoring.diagnosis.incident import Diagnosis, Remedy
from charkha.monitoring.performance import Span
from charkha.operations.drills import gate
from charkha.operations.drills.drilled import Drilled, Power, Verdict
from charkha.operations.drills.gate import drilling, judge
from charkha.operations.drills.power import CannotDrill, NoBundles, NotHealthy
from charkha.operations.drills.seen import Seen
from charkha.spec.gates import survives_drill

GATE = survives_drill("unit_change", "holiday", share=0.6, times=2)


def power_of(*verdicts: Verdict) -> Power:
    drilled = tuple(
        Drilled(kind=f"kind_{number}", cause="source", harmful=True, seed=1, since_us=0, verdict=verdict)
        for number, verdict in enumerate(verdicts)
    )
    return Power(model="late", healthy=Span(0, 1), watched=Span(1, 2), predictions=9, drilled=drilled)


def test_the_share_of_drills_that_went_as_they_should_decides() -> None:
    result = judge(GATE, power_of("caught", "quiet", "missed"))
    assert (result.name, result.passed, result.target) == ("survives_drill unit_change, holiday", True, 0.6)
    assert result.value is not None
    assert result.value.value == pytest.approx(2 / 3)
    assert result.value.n == 3
    assert result.value.low < 2 / 3 < result.value.high
    assert result.reason == (
        "the diagnosis did what it should in 2 of 3 drills; kind_2: not found, and its stated window was over; "
        "a share of at least 0.6 is asked for"
    )
    assert not judge(GATE, power_of("caught", "misnamed", "late", "false_alarm")).passed


def test_drills_that_cannot_be_told_do_not_count() -> None:
    assert judge(GATE, power_of("caught", "too_soon", "left_out")).passed
    nothing = judge(GATE, power_of("too_soon", "left_out"))
    assert (nothing.passed, nothing.value) == (True, None)
    assert nothing.reason.startswith("passed without a drill: none of 2 drills could be told; kind_0: not found")


@pytest.mark.parametrize(
    ("reason", "passes"),
    [
        (
            NotHealthy(
                "late",
                Seen(
                    1,
                    Diagnosis(
                        model="late",
                        watched=Span(1, 2),
                        healthy=Span(0, 1),
                        cause="source",
                        kind="temp is null",
                        remedy=Remedy(action="page_source_owner"),
                    ),
                ),
            ),
            False,
        ),
        (NoBundles("late"), True),
    ],
)
def test_traffic_that_is_broken_as_it_is_passes_nothing(
    reason: CannotDrill, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise reason

    monkeypatch.setattr(gate, "drill_case", refuse)
    nothing: Any = None
    result = drilling(nothing, nothing, nothing, 0, nothing)(GATE, nothing, lambda text: None)
    assert (result.passed, str(reason) in result.reason) == (passes, True)
