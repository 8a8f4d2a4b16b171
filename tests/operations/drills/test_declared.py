"""A project's own incidents: registered by name, loaded with the definition, told apart from those that are wrong."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from attrs import evolve
from drill_case import case_of
from drill_world import END_US, ONSET_US, RESCORE, traffic

import charkha as ck
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import inject
from charkha.operations.drills.declared import with_declared
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.power import drill
from charkha.spec.checks.incidents import incident_faults
from charkha.spec.definition import load_definition
from charkha.spec.project import load_project

HEALTHY = traffic()


@ck.incident("double_trips", cause="source", within="4h", size=2.0)
def double_trips(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
    """The meter counts every mile twice."""
    return rows.with_columns(pl.col("request.km") * size)


def test_it_is_one_of_the_kinds() -> None:
    kinds = with_declared([double_trips])
    bent = inject(HEALTHY, Fault("double_trips", ONSET_US, END_US), RESCORE, kinds)
    hit = bent.predictions["_at_us"].is_between(ONSET_US, END_US, closed="left")
    assert bent.predictions["ride.km"].filter(hit).equals(HEALTHY.predictions["request.km"].filter(hit) * 2)
    assert bent.predictions["ride.pace"].filter(hit).mean() == pytest.approx(
        2 * HEALTHY.predictions["ride.pace"].filter(hit).mean()  # type: ignore[operator]
    )
    assert not bent.recomputed.equals(HEALTHY.recomputed)
    assert kinds["double_trips"].words == "The meter counts every mile twice."


def test_of_another_cause_only_what_was_served_is_bent() -> None:
    @ck.incident("skewed", cause="skew")
    def skewed(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
        return rows.with_columns(pl.col("ride.km") + 1)

    bent = inject(HEALTHY, Fault("skewed", ONSET_US), RESCORE, with_declared([skewed]))
    assert bent.recomputed.equals(HEALTHY.recomputed)
    assert not bent.predictions.equals(HEALTHY.predictions)


def test_a_function_that_loses_rows_is_told() -> None:
    @ck.incident("losing", cause="skew")
    def losing(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
        return rows.head(1)

    with pytest.raises(BadFault, match=r"fault 'losing': expected a function that returns its \d+ rows .* got 1 rows"):
        inject(HEALTHY, Fault("losing", ONSET_US), RESCORE, with_declared([losing]))


def bent_by(change: Callable[[pl.DataFrame], object]) -> Traffic:
    @ck.incident("own", cause="skew")
    def own(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
        return change(rows)  # type: ignore[return-value]

    return inject(HEALTHY, Fault("own", ONSET_US), RESCORE, with_declared([own]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: 1 / 0, "expected a function that bends .* rows, got ZeroDivisionError: division by zero"),
        (lambda rows: rows.select(pl.col("request.kms")), "got ColumnNotFoundError"),
        (lambda rows: None, "got NoneType"),
        (lambda rows: rows.with_columns(pl.col("_at_us") + 1), "expected _at_us as they were, got other values"),
        (lambda rows: rows.with_columns(id=pl.lit("x"), role=pl.lit("x")), "expected id, role as they were"),
        (lambda rows: rows.with_columns(version=pl.lit("v9")), "expected version as they were"),
        (lambda rows: rows.reverse(), "expected id, _at_us, .* as they were"),
        (
            lambda rows: rows.with_columns(pl.col("latency_us") * 2.5),
            r"expected column 'latency_us' of type Int64, got Float64\. Keep the types: .*\.cast\(pl\.Int64\)",
        ),
        (
            lambda rows: rows.with_columns(pl.col("ride.km").cast(pl.String)),
            "column 'ride.km' of type Float64, got Str",
        ),
    ],
)
def test_a_function_that_is_wrong_is_told_by_its_name(change: Callable[[pl.DataFrame], object], words: str) -> None:
    with pytest.raises(BadFault, match=f"^fault 'own': .*{words}"):
        bent_by(change)


@pytest.mark.parametrize("name", ["request.km", "ride.pace", "age.sky", "score"])
def test_what_may_change_may(name: str) -> None:
    bent = bent_by(lambda rows: rows.with_columns(pl.col(name) + 1.0))
    assert not bent.predictions[name].equals(HEALTHY.predictions[name])


def test_one_that_is_wrong_is_left_out_and_the_others_go_on() -> None:
    @ck.incident("failing", cause="skew")
    def failing(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
        raise KeyError("nothing of that name")

    kinds = with_declared([failing])
    found = drill(case_of(), [kinds["failing"], kinds["latency"]], [1], sizes=False).drilled
    assert [each.kind for each in found] == ["failing", "latency"]
    assert found[0].verdict == "left_out"
    assert "KeyError: 'nothing of that name'" in found[0].reason
    assert found[1].verdict != "left_out"


def test_a_definition_brings_its_incidents(tmp_path: Path) -> None:
    quickstart = Path(__file__).resolve().parents[3] / "examples" / "quickstart"
    text = (quickstart / "definition.py").read_text("utf-8")
    own = '\n\n@ck.incident("half", cause="skew")\ndef half(rows, size, seed):\n    return rows\n'
    (tmp_path / "definition.py").write_text(text + own)
    (tmp_path / "charkha.toml").write_text('[project]\nname = "p"\ndefinition = "definition.py"\n')
    assert [each.name for each in load_definition(tmp_path / "definition.py", tmp_path).incidents] == ["half"]
    assert list(load_project(tmp_path).incidents) == ["half"]


def test_what_is_wrong_with_a_declared_incident_is_told_with_the_other_faults() -> None:
    wrong = evolve(double_trips, cause="moon", rows=0, within="soon")  # type: ignore[arg-type]
    assert [fault.where for fault in incident_faults([wrong, double_trips])] == [
        "incident 'double_trips'",
        *(f"incident 'double_trips', {what}" for what in ("cause", "rows", "within")),
    ]
