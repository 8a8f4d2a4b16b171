"""A model's life as a DAG of Airflow 3: its tasks call the same steps as the operator, by the command line.

The DAG decides nothing. What is due, and what a step rests on, is read from the ledger by each command; a task that is
run again goes on where it was, or finds that all is done.
"""

from collections.abc import Sequence
from pathlib import Path

from charkha.spec.durations import DAY_US, HOUR_US, parse_duration
from charkha.spec.model import Model

LEAST_US = HOUR_US // 4
RETRIES = 4
WAIT_SECONDS = 600

_DAG = '''"""Looks after the model {name} of Charkha. Made by: charkha export airflow {name}

Each task is a command that can be run again at any time. Nothing is decided here: charkha history {name} tells why.
"""

import shlex
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

CHARKHA = {command!r}
PROJECT = {project!r}


def step(task_id: str, *words: str) -> BashOperator:
    return BashOperator(task_id=task_id, bash_command=shlex.join([*CHARKHA, "--project", PROJECT, *words]))


with DAG(
    dag_id={dag_id!r},
    description={description!r},
    schedule=timedelta(seconds={seconds}),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={{
        "owner": {owner!r},
        "retries": {retries},
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(minutes={minutes:g}),
    }},
    tags=["charkha"],
) as dag:
    check = step("check", "check")
    data = [
{data}
    ]
    features = step("features", "features", "materialise")
    settle = step("settle", "operate", {name!r}, "--once", "--steps", "rollout", "--wait", "{wait}")
    train = step("train", "operate", {name!r}, "--once", "--steps", "training", "--wait", "{wait}")
    rollout = step("rollout", "operate", {name!r}, "--once", "--steps", "rollout", "--wait", "{wait}")
    check >> data >> features >> settle >> train >> rollout
'''


def dag_of(model: Model, root: Path, command: Sequence[str], every_us: int | None = None) -> str:
    """Return the Python file of the DAG that looks after a model.

    root: the project's folder, where the tasks run. command: how Charkha is called there. every_us: how often; as the
    definition says unless given.
    """
    names = [source.name for source in model.sources]
    return _DAG.format(
        name=model.name,
        command=list(command),
        project=str(root),
        dag_id=f"charkha_{model.name}",
        description=f"{model.name}: {model.purpose}",
        seconds=(every_us or looks_every_us(model)) // 1_000_000,
        owner=model.owner,
        retries=RETRIES,
        # What waits for the lead, looks and trains, and is ended by its own budget before.
        minutes=model.budget.train_minutes + WAIT_SECONDS / 60 + 30,
        data="\n".join(f'        step({f"data_{name}"!r}, "data", "check", {name!r}),' for name in names),
        wait=WAIT_SECONDS,
    )


def looks_every_us(model: Model) -> int:
    """Return how often a scheduler is to look (µs): daily, more often where training or updates are due more often."""
    declared = (model.retrain.every, model.retrain.update)
    return max(LEAST_US, min([DAY_US, *(parse_duration(each) for each in declared if each)]))
