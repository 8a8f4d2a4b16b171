"""A project whose newest rows are of this very hour, and Airflow 3 in an environment of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from attrs import frozen

from charkha.clock import SystemClock
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.fields import TIME

REQUIREMENT = "apache-airflow==3.*"
DAYS, ROWS = 30, 3000

DEFINITION = """
from datetime import datetime

import polars as pl

import charkha as ck

visits = ck.Source(
    "visits",
    {"id": int, "at": datetime, "known_at": datetime, "x": float, "y": bool},
    ck.parquet("visits.parquet"),
    time="at",
    known="known_at",
    key="id",
)
bought = ck.Model(
    "bought",
    label=ck.Label(visits, pl.col("y"), at="at", delay="1h"),
    request="x",
    features=[ck.RequestFeatures("asked", x=pl.col("x"))],
    estimator=ck.Linear(),
    split=ck.Split(validation="4d", test="5d"),
    gates=[ck.beats_trivial("log_loss")],
    retrain=ck.Retrain(every="1s", cooldown="1s"),
    purpose="tests",
    owner="tests",
)
"""


def make_project(root: Path) -> Path:
    """Write a project of one small model, and return its folder."""
    root.mkdir()
    (root / "charkha.toml").write_text('[project]\nname = "shop"\ndefinition = "definition.py"\n')
    (root / "definition.py").write_text(DEFINITION)
    random, now_us = np.random.default_rng(3), SystemClock().now()
    at_us = np.sort(now_us - 2 * HOUR_US - random.integers(0, DAYS * DAY_US, ROWS))
    x = random.normal(size=ROWS)
    columns = {
        "id": np.arange(ROWS),
        "at": pl.Series(at_us).cast(TIME),
        "known_at": pl.Series(at_us + HOUR_US).cast(TIME),
        "x": x,
        "y": random.random(ROWS) < 1 / (1 + np.exp(-2 * x)),
    }
    pl.DataFrame(columns).write_parquet(root / "visits.parquet")
    return root


@frozen(eq=False)
class Airflow:
    """Airflow, with a home and a database of its own. seconds: what its installation took."""

    python: Path
    folder: Path
    seconds: float

    @property
    def dags(self) -> Path:
        """Where its DAGs lie."""
        return self.folder / "dags"

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of Airflow's."""
        command = [str(self.python.with_name("airflow")), *words]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=600, check=False)

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder / 'airflow.db'}",
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
        }


def install(folder: Path) -> Airflow:
    """Return Airflow 3 as the package index has it, installed into a folder; skips the test where it cannot be had."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    python = folder / "venv" / "bin" / "python"
    began = time.perf_counter()
    for words in (
        ["venv", "--python", sys.executable, str(folder / "venv")],
        ["pip", "install", "--python", str(python), REQUIREMENT],
    ):
        done = subprocess.run([uv, *words], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"Airflow cannot be installed here: {done.stderr[-300:]}")
    made = Airflow(python, folder, time.perf_counter() - began)
    made.dags.mkdir()
    return made
