"""A training in a child process of the operator's own, which may make drills."""

import sys
from pathlib import Path

import attrs

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.operations.training import train_with_drills
from charkha.training.pipeline import Order
from charkha.training.tracking import NoTracker

sys.path.append(str(Path(__file__).parents[1] / "training"))
from small_world import AS_OF
from test_child import NOW_US, project_with

GATED = "LATE = attrs.evolve(LATE, gates=[*LATE.gates, small_world.ck.survives_drill('latency')])"


def test_a_child_drills_and_a_model_without_traffic_passes(tmp_path: Path) -> None:
    project = project_with(tmp_path, GATED)
    model = attrs.evolve(project.models["late"], gates=[ck.survives_drill("latency")])
    order = Order(model, project.root, AS_OF, "first")
    candidate = train_with_drills(order, project, SimulatedClock(NOW_US), NoTracker())
    assert candidate.passed
    assert candidate.gates[-1].name == "survives_drill latency"
    assert candidate.gates[-1].reason.startswith("passed without a drill: model 'late': expected predictions on")
