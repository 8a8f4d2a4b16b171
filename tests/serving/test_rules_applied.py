"""`charkha rules apply` on a running server: rules change under load, and no call fails."""

import threading
import time
from pathlib import Path

import pytest
from server_process import Client, server
from serving_project import DEFINITION, MODEL, NOW_US, champion, deploy, write_bundle, write_project

from charkha.cli import main
from charkha.spec.project import Project
from charkha.storage.home import open_home
from charkha.storage.ledger import VersionRow

PREDICT = f"/v1/models/{MODEL}/predict"
ROW = {"city": "Pune", "km": 50.0, "stops": 2, "pooled": None}


def charkha(project: Project, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--project", str(project.root), *arguments, "--reason", "a trial"])
    assert ended.value.code in (0, None)


def declare(project: Project, condition: str) -> None:
    rules = f'rules=[ck.Rule("far", {condition})],\n    purpose="operations",'
    (project.root / "definition.py").write_text(DEFINITION.replace('purpose="operations",', rules, 1))


def test_rules_change_under_load_and_no_call_fails(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        home.ledger.next_version(MODEL, "v1")
        home.ledger.record_version(VersionRow(MODEL, "v1", NOW_US, "0", "0", "v1", {}, "accepted"))
        deploy(home, champion("v1"))
    stopped, statuses, failures = threading.Event(), dict[int, int](), list[Exception]()
    with server(project.root, workers=2) as running:

        def ask() -> None:
            client = running.client()
            try:
                while not stopped.is_set():
                    status = client.post(PREDICT, ROW)[0]
                    statuses[status] = statuses.get(status, 0) + 1
            except Exception as error:
                failures.append(error)
            client.close()

        asking = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
        for each in asking:
            each.start()
        for number in range(6):
            declare(project, f'pl.col("km") > {10 if number % 2 == 0 else 100}')
            charkha(project, "rules", "apply", MODEL)
            settle(running.port, f"v{number + 2}", ["far"] if number % 2 == 0 else [])
        charkha(project, "rollback", MODEL)
        settle(running.port, "v6", ["far"])
        stopped.set()
        for each in asking:
            each.join()
    assert failures == []
    assert set(statuses) == {200}


def settle(port: int, version: str, rules: list[str]) -> None:
    """Wait until eight connections in a row, which go to either worker, are answered by a version and its rules."""
    deadline, same = time.monotonic() + 20, 0
    while same < 8:
        assert time.monotonic() < deadline, version
        client = Client(port)
        _, told = client.post(PREDICT, ROW)
        client.close()
        same = same + 1 if (told["version"], told["rules"]) == (version, rules) else 0
