"""`charkha deploy` on a running server: shares of entities move, each entity sticks to its version, nothing fails."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from server_process import Client, ServerProcess, server
from serving_project import MODEL, NOW_US, champion, deploy, write_bundle, write_project

from charkha.cli import main
from charkha.spec.project import Project
from charkha.storage.home import open_home
from charkha.storage.ledger import VersionRow

PREDICT = f"/v1/models/{MODEL}/predict"
CITIES = [f"city {number}" for number in range(400)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = write_project(tmp_path)
    with open_home(made.home) as home:
        for version in ("v1", "v2"):
            write_bundle(made, home, version)
            home.ledger.record_version(VersionRow(MODEL, version, NOW_US, "0", "0", version, {}, "accepted"))
        deploy(home, champion("v1"))
    return made


@pytest.fixture
def running(project: Project) -> Iterator[ServerProcess]:
    with server(project.root, workers=2) as started:
        yield started


def charkha(project: Project, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--project", str(project.root), *arguments, "--reason", "a trial"])
    assert ended.value.code in (0, None)


def answered(client: Client) -> dict[str, str]:
    """Return who answers each city, the same on every connection and every time."""
    found: dict[str, str] = {}
    for low in range(0, len(CITIES), 100):
        rows = [{"city": city, "km": 1.5, "stops": 2, "pooled": None} for city in CITIES[low : low + 100]]
        status, reply = client.post(PREDICT, {"rows": rows})
        assert status == 200
        versions = [each["version"] for each in reply["predictions"]]
        assert all(
            each["role"] == ("challenger" if each["version"] == "v2" else "champion") for each in reply["predictions"]
        )
        found |= dict(zip(CITIES[low : low + 100], versions, strict=True))
    return found


def settled(running: ServerProcess, shares: dict[str, float]) -> dict[str, str]:
    """Return who answers each city once all workers have followed."""
    deadline, same, found = time.monotonic() + 60, 0, dict[str, str]()
    while same < 24:  # connections go to either worker: that all go to one is one in 8 million
        assert time.monotonic() < deadline
        with closing(running.client()) as client:
            _, told = client.get("/v1/models")
            (model,) = [each for each in told["models"] if each["model"] == MODEL]
            followed = {each["version"]: each["share"] for each in model["versions"]} == shares
            same = same + 1 if followed else 0
    for _ in range(6):
        with closing(running.client()) as client:
            answers = answered(client)
        assert answers == (found or answers)
        found = answers
    return found


def test_shares_move_entities_and_each_sticks_to_its_version(running: ServerProcess, project: Project) -> None:
    stopped, statuses, failures = threading.Event(), set[int](), list[Exception]()

    def ask() -> None:
        client, row = running.client(), {"city": "city 7", "km": 1.5, "stops": 2, "pooled": None}
        try:
            while not stopped.is_set():
                statuses.add(client.post(PREDICT, row)[0])
        except Exception as error:
            failures.append(error)
        client.close()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    seen: list[set[str]] = []
    for share in (0.1, 0.4, 0.2):
        charkha(project, "deploy", MODEL, "v2", "--role", "challenger", "--share", str(share))
        found = settled(running, {"v1": 1 - share, "v2": share})
        seen.append({city for city, version in found.items() if version == "v2"})
        assert abs(len(seen[-1]) / len(CITIES) - share) < 0.1
    small, large, middle = seen
    assert small < middle < large
    charkha(project, "deploy", MODEL, "v2", "--role", "shadow")
    assert set(settled(running, {"v1": 1.0, "v2": 1.0}).values()) == {"v1"}
    charkha(project, "withdraw", MODEL, "v2")
    assert set(settled(running, {"v1": 1.0}).values()) == {"v1"}
    stopped.set()
    asking.join()
    assert (failures, statuses) == ([], {200})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["v2", "--role", "challenger"], "expected the share of a challenger"),
        (["v2", "--role", "shadow", "--share", "0.1"], "none of a shadow"),
        (["v2", "--role", "champion"], "To make it the champion: charkha promote"),
        (["v9", "--role", "shadow"], "expected a version of 'late_trip' (v1, v2), got 'v9'"),
        (["v2", "--role", "challenger", "--share", "1"], "expected a share above 0 and below 1 for v2, got 1"),
    ],
)
def test_what_cannot_be_meant_is_said(
    project: Project, arguments: list[str], says: str, capsys: pytest.CaptureFixture[Any]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--project", str(project.root), "deploy", MODEL, *arguments, "--reason", "a trial"])
    assert ended.value.code in (1, 2)
    assert says in " ".join(capsys.readouterr().err.replace("│", " ").split())
