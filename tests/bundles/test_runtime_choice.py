"""The runtime is the fastest that gives the trainer's own scores, and a bundle is served wherever it is brought."""

from collections.abc import Mapping

import numpy as np
import pytest
from made_bundle import make
from msgspec.structs import replace

from charkha.bundles import bundle, runtime_choice
from charkha.bundles.bundle import load_bundle
from charkha.bundles.encoding import encode
from charkha.bundles.lightgbm_runtime import NativeBooster
from charkha.bundles.manifest import RuntimeChoice, manifest_from_json, manifest_to_json
from charkha.bundles.predictor import Load, Predictor, RuntimeMissing
from charkha.bundles.runtime_choice import choose_runtime, furthest
from charkha.bundles.trees import compiled
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.forest import NotThisForest
from charkha.spec.model import FloatArray


class Made:
    """A predictor that adds to every row's first number, after so many turns of nothing."""

    def __init__(self, added: float = 0.0, turns: int = 0) -> None:
        self.added, self.turns = added, turns

    def predict(self, matrix: FloatArray) -> FloatArray:
        for _ in range(self.turns):
            pass
        return np.asarray(matrix[:, 0] + self.added)


def absent(state: bytes) -> Predictor:
    raise RuntimeMissing("not here")


def unfit(state: bytes) -> Predictor:
    raise NotThisForest("another forest")


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Load]:
    found: dict[str, Load] = {}
    monkeypatch.setattr(runtime_choice, "runtimes_of", lambda kind: found)
    monkeypatch.setattr(runtime_choice, "load_predictor", _load_from(found))
    return found


def _load_from(found: Mapping[str, Load]) -> object:
    return lambda kind, state, name=None: found[name or next(iter(found))](state)


ROWS = np.arange(600.0).reshape(300, 2) / 600


def test_the_fastest_that_agrees_is_chosen(runtimes: dict[str, Load]) -> None:
    runtimes["own"] = lambda state: Made(turns=20_000)
    runtimes["slow"] = lambda state: Made(turns=40_000)
    runtimes["fast"] = lambda state: Made(added=9e-7)
    runtimes["wrong"] = lambda state: Made(added=2e-6)
    runtimes["absent"], runtimes["unfit"] = absent, unfit
    choice = choose_runtime("made", b"", ROWS)
    assert choice.name == "fast"
    assert (choice.rows, list(choice.measured)) == (300, ["own", "slow", "fast"])
    assert choice.measured["own"].one_row_us > 10 * choice.measured["fast"].one_row_us
    assert choice.measured["fast"].furthest == pytest.approx(9e-7)
    assert choice.passed_over == {
        "wrong": "its scores differ from the trainer's own by up to 2e-06",
        "absent": "not here",
        "unfit": "another forest",
    }


def test_without_rows_nothing_can_be_held_to_anything(runtimes: dict[str, Load]) -> None:
    runtimes["own"], runtimes["fast"] = (lambda state: Made(turns=9000)), (lambda state: Made())
    assert choose_runtime("made", b"", ROWS[:0]) == RuntimeChoice(name="own", rows=0)


def test_a_runtime_that_is_named_is_not_measured(runtimes: dict[str, Load]) -> None:
    runtimes["own"], runtimes["slow"] = (lambda state: Made()), (lambda state: Made(turns=9000))
    runtimes["wrong"] = lambda state: Made(added=1.0)
    assert choose_runtime("made", b"", ROWS, only="slow") == RuntimeChoice(name="slow", rows=300)
    with pytest.raises(RuntimeMissing, match="expected the trainer's own scores to 1e-06"):
        choose_runtime("made", b"", ROWS, only="wrong")


def test_large_scores_are_compared_by_their_size() -> None:
    assert furthest(np.array([1e9 + 1, 0.5]), np.array([1e9, 0.5])) == pytest.approx(1e-9)
    assert furthest(np.array([np.nan]), np.array([1.0])) > 1
    assert furthest(np.array([]), np.array([])) == 0


def test_a_lightgbm_model_is_served_compiled() -> None:
    made = make()
    choice = choose_runtime("lightgbm", made.state, encode(made.manifest.schema, made.features))
    assert choice.name == "compiled"
    assert choice.passed_over == {}
    assert choice.measured["compiled"].furthest == 0
    manifest = replace(made.manifest, runtime=choice)
    assert manifest_from_json(manifest_to_json(manifest)) == manifest
    loaded = load_bundle(manifest, made.state)
    assert isinstance(loaded.predictor, CompiledForest)
    assert np.array_equal(loaded.score(made.features), load_bundle(made.manifest, made.state).score(made.features))


def test_an_older_bundle_is_served_by_the_first(caplog: pytest.LogCaptureFixture) -> None:
    made = make()
    older = manifest_from_json(manifest_to_json(made.manifest).replace(b'"runtime": null,', b""))
    assert older.runtime is None
    assert isinstance(load_bundle(older, made.state).predictor, NativeBooster)
    assert not caplog.records


@pytest.mark.parametrize("name", ["compiled", "of a later Charkha"])
def test_where_a_runtime_is_missing_the_first_serves_and_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> object:
        raise RuntimeMissing("expected compiled kernels, found none")

    monkeypatch.setattr(compiled, "kernels", none)
    made = make()
    manifest = replace(made.manifest, runtime=RuntimeChoice(name=name, rows=9))
    assert isinstance(load_bundle(manifest, made.state).predictor, NativeBooster)
    (record,) = caplog.records
    assert record.name == bundle.__name__
    assert f"late v1 is served without the runtime {name!r}, so slower: expected" in record.message


def test_where_the_library_itself_is_missing_nothing_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(kind: str, state: bytes, runtime: str | None = None) -> Predictor:
        raise RuntimeMissing("expected the library")

    monkeypatch.setattr(bundle, "load_predictor", gone)
    with pytest.raises(RuntimeMissing, match="expected the library"):
        load_bundle(make().manifest, make().state)
