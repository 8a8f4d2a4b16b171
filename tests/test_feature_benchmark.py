"""The feature benchmark at tiny sizes, without Feast: every step measures all its figures, and finds them right."""

import importlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = 1 / 5_000


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the benchmark by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def bench(parts: Any, tmp_path: Path) -> Any:
    """A bench that measures in this process, and has no Feast."""
    steps, child = parts("features_steps"), parts("features_child")

    class Bench(steps.Bench):  # type: ignore[misc,name-defined]
        def child(self, function: str, **arguments: Any) -> Any:
            module, _, name = function.partition(":")
            return child.Outcome(getattr(parts(module), name)(**arguments), 1 << 30, 1.0)

        @property
        def feast(self) -> Any:
            raise parts("suite").PeerMissing("not measured: no network")

    return Bench(tmp_path, tmp_path / "cache", parts("features_data").Sizes.at(TINY), calls=50, rounds=2)


STEPS = ("join", "windows", "memory", "reads", "push", "materialise", "hot", "size")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_measures_its_figures_and_leaves_no_data(parts: Any, bench: Any, name: str) -> None:
    (step,) = (step for step in parts("features_steps").STEPS if step.name == name)
    compared = parts("suite").Compared
    found = list(step.run(bench))
    figures = dict(each for each in found if not isinstance(each, compared))
    assert set(figures) == {figure.name for figure in parts("features_figures").FIGURES if figure.step == name}
    assert all(figure.value >= 0 for figure in figures.values())
    assert all(each.ours > 0 and each.theirs > 0 for each in found if isinstance(each, compared))
    assert {name: figure.value for name, figure in figures.items() if "unlike" in name and figure.value} == {}
    assert not any(figure.met is False for name, figure in figures.items() if "unlike" in name)
    assert list(bench.folder.iterdir()) == []


def test_without_feast_its_figures_are_null_and_say_why(parts: Any, bench: Any) -> None:
    suite, features = parts("suite"), parts("features").SUITE
    steps, results = features.steps, suite.Results(features.figures)
    results.unmeasured |= {step.name: "left out" for step in steps}
    results.left_out = frozenset(step.name for step in steps if not step.name.startswith("feast"))
    suite.measure([step for step in steps if step.name.startswith("feast")], bench, suite.Progress(), results)
    claims = {claim["name"]: claim for claim in json.loads(parts("claims").claims_json(results.claims()))["claims"]}
    assert len(claims) == len(parts("features_figures").FIGURES)
    without = claims["feast_redis_cpu_over_read_100_keys"]
    assert (without["value"], without["holds"]) == (None, False)
    assert without["note"] == "not measured: no network"
    assert (claims["read_1_key_cpu_us"]["holds"], claims["read_1_key_cpu_us"]["note"]) == (None, "left out")
    lines = {line.split()[0]: line for line in parts("claims").claim_lines(results.claims())}
    assert "not run  left out" in lines["read_1_key_cpu_us"]
    assert " NO " in lines["feast_redis_cpu_over_read_100_keys"]
    assert not results.failed


def test_the_checks_find_what_is_wrong(parts: Any, bench: Any, tmp_path: Path) -> None:
    checks, work = parts("features_checks"), parts("features_work")
    data, events = (bench.data(name, tmp_path / name, entities=20, asked=60, **{of: 400})
                    for name, of in (("history", "history"), ("events", "events")))  # fmt: skip
    right, wrong = str(tmp_path / "right.parquet"), str(tmp_path / "wrong.parquet")
    work.join("charkha", data, right)
    half = pl.when(pl.col("label") == 1).then("v2_f9").alias("v2_f9")
    pl.read_parquet(right).with_columns(half).write_parquet(wrong)
    unlike = checks.unlike_rows(wrong, right)["unlike"]
    assert 0 < unlike < 60
    assert checks.join_slips(data, wrong, 60, known=False)["slips"] == unlike
    assert checks.join_slips(data, right, 60, known=True)["slips"] > 0
    work.windows("charkha", events, right)
    pl.read_parquet(right).with_columns(pl.col("count_7d") + 1).write_parquet(wrong)
    assert checks.window_slips(events, wrong, 60)["slips"] == 60


def test_a_child_says_what_it_found_and_how_much_memory_it_took(parts: Any, tmp_path: Path) -> None:
    child = parts("features_child")
    found = child.in_child("features_data:make_hot_key", tmp_path / "log", folder=str(tmp_path / "data"), hot=50)
    assert found.values == {}
    assert found.peak_rss_bytes > 10_000_000
    assert found.process_cpu_seconds > 0.01
    assert pl.read_parquet(tmp_path / "data" / "events.parquet").height == 155
    with pytest.raises(parts("processes").Failed, match="make_nothing"):
        child.in_child("features_data:make_nothing", tmp_path / "log")


def test_events_are_pushed_into_a_filled_state_as_time_goes_by(parts: Any, bench: Any, tmp_path: Path) -> None:
    adapter, work = parts("features_adapter"), parts("features_work")
    root = bench.data("wide_events", tmp_path / "data", entities=20, events=400, pushed=50)
    shape, folder = "wide and windows", str(tmp_path / "state")
    work.materialise(folder, root, shape)
    with adapter.online(folder, shape) as state:
        before = [state.state_bytes(entity) for entity in range(20)]
        began_us = state.clock.now()
        state.push(adapter.wide_rows(f"{root}/pushed.parquet"))
        assert state.clock.now() == began_us + 50_000_000
        assert [state.state_bytes(entity) for entity in range(20)] != before
        assert min(before) > 0


def test_both_sides_of_a_comparison_are_medians_of_as_many_rounds(parts: Any, bench: Any) -> None:
    steps = {step.name: step for step in parts("features_steps").STEPS}
    calls: list[str] = []
    called = bench.child

    def counted(function: str, **arguments: Any) -> Any:
        calls.append(" ".join([function.partition(":")[2], str(arguments.get("how", ""))]))
        return called(function, **arguments)

    type(bench).child = lambda self, function, **arguments: counted(function, **arguments)
    list(steps["join"].run(bench))
    assert {calls.count(f"join {how}") for how in ("charkha", "numpy", "polars", "charkha, keyed")} == {bench.rounds}
    list(steps["windows"].run(bench))
    assert (calls.count("windows polars"), calls.count("windows charkha")) == (bench.rounds, 3 * bench.rounds)
