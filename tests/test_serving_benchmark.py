"""The serving benchmark at tiny sizes: its load counts rightly, its servers are right, and no figure is made up."""

import importlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SAID = """Running 1s test @ http://127.0.0.1:1/predict
RESULT {"answers": 1000, "microseconds": 2000000, "p50_us": 100, "p95_us": 200, "p99_us": 300, \
"accepted_p99_us": 350, "refused": 400, "broken": 3}
"""


@pytest.fixture(scope="module")
def parts() -> Iterator[Any]:
    """The modules of the benchmark by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module


@pytest.fixture(scope="module")
def bench(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bench of a little data, which loads for a moment."""
    bench = parts("serving_bench")
    lengths = bench.Lengths(seconds=1.0, rounds=1, swaps=2, kills=2, starts=1, memory_minutes=0.05)
    folder = tmp_path_factory.mktemp("bench")
    return bench.Bench(folder, folder / "peers", parts("serving_work").Sizes(2_000, 200), lengths, workers=(1,))


class Answering:
    """A server of this process that gives its answers in turn, in two pieces each. asked: the bodies that came."""

    def __init__(self, statuses: list[int]) -> None:
        self._statuses, self.asked = statuses, list[bytes]()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(4096):
                status = self._statuses[len(self.asked) % len(self._statuses)]
                self.asked.append(request.partition(b"\r\n\r\n")[2])
                if status == 0:
                    return
                connection.sendall(f"HTTP/1.1 {status} Any\r\nContent-Type: x\r\ncontent-length: 12\r\n\r\n".encode())
                connection.sendall(b"a" * 4)
                time.sleep(0.001)
                connection.sendall(b"\r\n\r\nbbbb")


def offered(parts: Any, statuses: list[int], folder: Path, connections: int = 4) -> tuple[Any, list[bytes]]:
    """Offer fifty questions in a quarter of a second."""
    (folder / "bodies").write_bytes(b'{"a":1}\n{"b":22}\n')
    server = Answering(statuses)
    try:
        target = parts("load").Target(server.port, "/predict", folder / "bodies")
        return parts("open_loop").open_loop(target, 200, 0.25, folder / "log", connections), server.asked
    finally:
        server.close()


def test_an_open_loop_counts_each_kind_of_answer(parts: Any, tmp_path: Path) -> None:
    found, asked = offered(parts, [200, 429, 200, 500], tmp_path)
    assert found.asked + found.unasked == 50
    assert (found.lost, found.broken) == (0, 0)
    assert found.accepted + found.shed + found.other == found.asked == len(asked)
    assert abs(found.accepted - 2 * found.shed) <= 2
    assert abs(found.shed - found.other) <= 1
    assert found.goodput == found.accepted / 0.25
    assert 1 <= found.accepted_p50_ms <= found.accepted_p99_ms
    assert {*asked} == {b'{"a":1}', b'{"b":22}'}


def test_an_open_loop_goes_on_where_a_connection_is_closed_and_says_what_it_could_not_ask(
    parts: Any, tmp_path: Path
) -> None:
    found, asked = offered(parts, [200, 0, 0], tmp_path, connections=2)
    assert (found.accepted, found.broken, found.lost) == (1, 2, 0)
    assert (found.asked, found.unasked) == (3, 47)
    assert len(asked) == 3
    assert "47 not asked for want of a free connection" in str(found)


def test_what_wrk_says_is_read(parts: Any) -> None:
    found = parts("load").answers(SAID)
    assert (found.qps, found.failed, found.accepted_p99_us) == (300.0, 403, 350)
    assert "400 refused, 3 broken" in str(found)


def test_without_wrk_it_is_said_how_to_get_it(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = parts("load")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(load.WrkMissing, match="apt-get install wrk"):
        load.closed_loop(load.Target(1, "/", tmp_path / "bodies"), 1, 1, tmp_path)


def test_every_figure_has_a_step_and_every_step_figures(parts: Any) -> None:
    suite = parts("serving").SUITE
    assert {figure.step for figure in suite.figures} == {step.name for step in suite.steps}
    names = [figure.name for figure in suite.figures]
    assert len(names) == len(set(names))


def test_peers_that_cannot_be_had_are_said_and_the_others_measured(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, steps, load = parts("suite"), parts("serving_steps"), parts("load")
    ours = load.Answers(1000, 1.0, 1, 2, 3, 3, 0, 0)

    def measured(_bench: Any, peer: Any) -> Any:
        if peer.name == "BentoML":
            raise suite.PeerMissing("not measured: BentoML cannot be installed here")
        return load.Answers(100 if peer.name == "KServe" else 50, 1.0, 10, 20, 30, 30, 0, 0), f"{peer.name} 1"

    class Bench:
        fields_loaded = parts("serving_bench").Loaded(ours, 1, 1.0, 0)
        tell = staticmethod(lambda said: None)

    monkeypatch.setattr(steps, "_peer", measured)
    benchmark = parts("serving").SUITE
    results = suite.Results(benchmark.figures)
    results.unmeasured |= {step.name: "left out" for step in benchmark.steps}
    results.left_out = frozenset(step.name for step in benchmark.steps if step.name != "peers")
    suite.measure([step for step in benchmark.steps if step.name == "peers"], Bench(), suite.Progress(), results)
    claims = {claim["name"]: claim for claim in json.loads(parts("claims").claims_json(results.claims()))["claims"]}
    assert list(claims) == [figure.name for figure in benchmark.figures]
    best = claims["fields_qps_over_best_peer"]
    assert (best["value"], best["holds"]) == (10.0, True)
    assert best["note"].endswith("; without BentoML")
    bentoml = claims["fields_qps_over_bentoml"]
    assert (bentoml["value"], bentoml["holds"]) == (None, False)
    assert bentoml["note"] == "not measured: BentoML cannot be installed here"
    assert (claims["fraud_qps_64"]["value"], claims["fraud_qps_64"]["holds"]) == (None, None)
    assert not results.failed


def test_a_tree_of_processes_is_found_with_its_memory_and_its_time(parts: Any) -> None:
    tree = parts("process_tree")
    works = "sum(range(3_000_000)); print(flush=True); input()"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {works!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", starts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (child,) = tree.children(process.pid)
        assert tree.tree(process.pid) == [process.pid, child]
        assert "input()" in tree.command(child)
        assert tree.rss_bytes(process.pid) > tree.rss_bytes(child) > 1_000_000
        assert tree.cpu_seconds(process.pid) >= tree.cpu_seconds(child) > 0
        process.communicate("\n")
    assert (tree.children(process.pid), tree.rss_bytes(process.pid), tree.command(process.pid)) == ([], 0, "")


@pytest.mark.slow
def test_the_floor_is_right_and_what_is_wrong_or_dead_is_told_and_ended(parts: Any, bench: Any, tmp_path: Path) -> None:
    peers, tree = parts("peers"), parts("process_tree")
    floor, python = peers.floor(1), Path(sys.executable)
    with peers.running(floor, python, bench.fields, tmp_path / "floor") as running:
        pids = tree.tree(running.pid)
        assert len(pids) > 1
    assert [pid for pid in pids if tree.command(pid)] == []
    project = tmp_path / "wrong"
    project.mkdir()
    for name in ("coded.jsonl", "model.txt"):
        (project / name).symlink_to(bench.fields / name)
    (project / "expected.json").write_text(json.dumps([0.5] * 1000))
    with (
        pytest.raises(peers.NotRight, match=r"bare stack: expected the score 0\.5"),
        peers.running(floor, python, project, tmp_path / "unlike"),
    ):
        pass
    (project / "model.txt").unlink()
    with (
        pytest.raises(parts("suite").PeerMissing, match=r"bare stack ended with status \d+"),
        peers.running(floor, python, project, tmp_path / "dead"),
    ):
        pass


@pytest.mark.slow
def test_a_server_of_each_project_answers_rightly_and_its_log_says_so(parts: Any, bench: Any) -> None:
    serving_bench, work = parts("serving_bench"), parts("serving_work")
    for made in (bench.fields, bench.fraud):
        with bench.served(made, 1) as served:
            assert serving_bench.logged_rows(served.project) == serving_bench.CHECKED
            wrong = served.project.root / "expected.json"
            if wrong.exists():
                wrong.write_text(json.dumps([0.5] * 1000))
                with pytest.raises(parts("peers").NotRight, match="expected the score"):
                    serving_bench.check(served.target, served.project.root)
    with bench.served(bench.fraud, 1, lambda home: work.deploy_with_shadow(home, "fraud")) as served:
        found = logged(parts, served.project)
        deadline = time.monotonic() + 60
        while found.height < 200 and time.monotonic() < deadline:  # no answer waits for a shadow
            time.sleep(0.1)
            found = logged(parts, served.project)
    assert dict(found.group_by("role").len().rows()) == {"champion": 100, "shadow": 100}
    whole = {role: complete(found.filter(role=role)) for role in ("champion", "shadow")}
    assert len(whole["champion"]) == 30
    assert whole["shadow"] != whole["champion"]
    assert list(bench.folder.glob("room-*")) == []


def complete(rows: pl.DataFrame) -> list[str]:
    """Return the stored and windowed features that every row has."""
    features = rows.select("^(profile|device|spent)[.].*$")
    return [name for name in features.columns if features[name].null_count() == 0]


def logged(parts: Any, project: Any) -> pl.DataFrame:
    kills = parts("serving_kills")
    with kills.open_project(project) as home:
        frame: pl.DataFrame = kills.decode_predictions(
            home.log.read(kills.prediction_stream("fraud")), kills.BundleStore(home.bundles)
        )
        return frame


@pytest.mark.slow
def test_workers_are_killed_and_nothing_is_lost(parts: Any, bench: Any) -> None:
    found = dict(parts("serving_kills").kills(bench))
    assert list(found) == names_of(parts, "kills")
    assert [figure.value for figure in found.values()] == [0, 0, 0]
    assert "of 2 kills" in found["worker_kills_acknowledged_lost"].note


def names_of(parts: Any, step: str) -> list[str]:
    return [figure.name for figure in parts("serving").SUITE.figures if figure.step == step]


def test_bulk_scoring_is_measured_by_its_own_benchmark_or_said_to_be_missing(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, bench = parts("serving_steps"), parts("serving_bench")
    claim = {"name": "bulk_scoring_cpu_over_lightgbm", "value": 1.5, "target": "<= 1.2", "holds": False, "note": "slow"}
    monkeypatch.setattr(steps, "SCORING", tmp_path / "scoring.py")
    at_work = bench.Bench(tmp_path, tmp_path, parts("serving_work").Sizes(7, 7))
    with pytest.raises(parts("suite").PeerMissing, match=r"no benchmarks/scoring\.py"):
        list(steps.scoring(at_work))
    said = json.dumps({"claims": [claim]})
    (tmp_path / "scoring.py").write_text(
        f"import sys; assert sys.argv[1:] == ['--rows', '70']; print('words\\n', {said!r})"
    )
    ((name, measured),) = steps.scoring(at_work)
    assert (name, measured.value, measured.met, measured.note) == (claim["name"], 1.5, False, "slow")
