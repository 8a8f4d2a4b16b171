"""The exported DAG in a real Airflow 3: one run of it really retrains."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from airflow_environment import install, make_project
from command_line import Shell

from charkha.spec.project import load_project
from charkha.storage.home import open_project

CHARKHA = [sys.executable, "-m", "charkha"]


def charkha(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CHARKHA, "--project", str(project), *words], capture_output=True, text=True, check=True)


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_run_of_the_dag_is_one_retraining(tmp_path: Path) -> None:
    project, airflow = make_project(tmp_path / "project"), install(tmp_path / "airflow")
    charkha(project, "train")
    dag = airflow.dags / "charkha_bought.py"
    charkha(project, "export", "airflow", "bought", "--output", str(dag), "--command", shlex.join(CHARKHA))
    migrated = airflow.run("db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    done = airflow.run("dags", "test", "charkha_bought")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "state=success" in done.stdout + done.stderr
    with open_project(load_project(project)) as home:
        made = home.ledger.decisions("bought")
        assert [run.status for run in home.ledger.runs("bought")] == ["done", "done"]
    assert [(each.actor != "operator", each.action) for each in made] == [
        (True, "promote"),
        (False, "train"),
        (False, "shadow"),
    ]
    (state,) = json.loads(charkha(project, "status", "--json").stdout)
    assert (state["champion"], state["shadows"]) == ("v1", ["v2"])


def test_the_dag_is_python_that_names_each_command_and_decides_nothing(tmp_path: Path, shell: Shell) -> None:
    project = make_project(tmp_path / "project")
    written = shell("--project", str(project), "export", "airflow", "--command", "/srv/bin/charkha").out
    compile(written, "dag.py", "exec")
    assert "CHARKHA = ['/srv/bin/charkha']" in written
    assert f"PROJECT = {str(project)!r}" in written
    assert "check >> data >> features >> settle >> train >> rollout" in written
    assert 'step("train", "operate", \'bought\', "--once", "--steps", "training", "--wait", "600")' in written
    assert "step('data_visits', \"data\", \"check\", 'visits')" in written
    assert "schedule=timedelta(seconds=900)" in written, "as often as retrain=every says, but not more often than that"
    assert " if " not in written.partition('"""\n\nimport')[2]
    every = shell("--project", str(project), "export", "airflow", "--every", "6h", "--output", str(tmp_path / "dag.py"))
    assert (every.code, f"charkha_bought is written to {tmp_path / 'dag.py'}\n") == (0, every.out)
    assert "schedule=timedelta(seconds=21600)" in (tmp_path / "dag.py").read_text()
    wrong = shell("--project", str(project), "export", "airflow", "--every", "often")
    assert wrong.code == 2
    assert "expected a duration" in wrong.err
