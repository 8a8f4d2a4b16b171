"""Metrics of several workers: what the dead have counted stays and is one file; no room kills nobody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import child_environment

from charkha.serving.metric_files import MetricFolder

WORKER = """
import os, sys
from charkha.serving.metrics import ServingMetrics

metrics = ServingMetrics()
for number in range(int(sys.argv[1])):
    metrics.answered(f"/route/{number}", 200, 0.001)
    metrics.shed("late")
metrics.queued("late", 3)
print(os.getpid(), flush=True)
sys.stdin.read()
print(metrics.exposition().decode())
"""


def worker(folder: Path, count: int = 1) -> "subprocess.Popen[str]":
    environment = {**child_environment(), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", WORKER, str(count)]
    made = subprocess.Popen(command, text=True, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert made.stdout is not None
    assert int(made.stdout.readline()) == made.pid
    return made


def exposed(process: "subprocess.Popen[str]") -> dict[str, float]:
    text, _ = process.communicate()
    assert process.returncode == 0
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_what_the_dead_have_counted_is_kept_in_one_file(tmp_path: Path) -> None:
    folder = MetricFolder([tmp_path])
    living = worker(folder.path)
    for _ in range(4):
        dead = worker(folder.path, 2)
        dead.kill()
        dead.communicate()
        folder.fold([living.pid])
    names = sorted(path.name for path in folder.path.glob("*.db"))
    own = [f"{kind}_{living.pid}.db" for kind in ("counter", "gauge_livesum", "histogram")]
    assert names == sorted(["counter_0.db", "histogram_0.db", *own])
    found = exposed(living)
    assert found['charkha_shed_total{model="late"}'] == 9
    assert found['charkha_queue_rows{model="late"}'] == 3
    assert found['charkha_http_requests_total{route="/route/1",status="200"}'] == 4
    assert found['charkha_http_request_seconds_count{route="/route/0"}'] == 5
    assert found['charkha_http_request_seconds_bucket{le="+Inf",route="/route/0"}'] == 5
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_server_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    living = MetricFolder([tmp_path])
    script = "from pathlib import Path\nimport os\nfrom charkha.serving.metric_files import MetricFolder\n"
    script += f"MetricFolder([Path({json.dumps(str(tmp_path))})])\nos.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False, env=child_environment())
    assert len(list(tmp_path.iterdir())) == 2
    third = MetricFolder([tmp_path])
    assert sorted(tmp_path.iterdir()) == sorted([living.path, third.path])
    living.remove()
    third.remove()


@pytest.mark.parametrize(("kib", "kinds"), [(4, 0), (240, 2)], ids=["none at all", "none to grow"])
def test_a_worker_without_room_lives_and_counts_in_vain(tmp_path: Path, kib: int, kinds: int) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", small],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        found = exposed(worker(small, 1500))
        assert len(list(small.glob("*.db"))) == kinds
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
    assert bool(found) == bool(kinds)
