"""`charkha export`: what Charkha does, for a scheduler of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from charkha.cli.options import ModelName
from charkha.cli.pages import require_folder, write_page
from charkha.cli.session import choose_model, session_of

EXAMPLES = {
    "airflow": (
        "charkha export airflow likes --output dags/charkha_likes.py",
        "charkha export airflow likes --every 6h --command '/srv/venv/bin/charkha' | less",
    )
}


def airflow(
    context: typer.Context,
    *,
    model: ModelName = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where it is written; standard output else.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How often it runs, such as 6h; as the definition says else.")
    ] = None,
    command: Annotated[
        str, typer.Option(metavar="COMMAND", help="How Charkha is called where Airflow's tasks run.")
    ] = "charkha",
) -> None:
    """Write a DAG for Airflow 3 that looks after a model in place of the operator's own loop.

    Its tasks check the definition and the data, bring the state up to the files, conclude what can be concluded of a
    rollout, train if that is due, and go on with the rollout: each calls charkha, and decides nothing itself. It runs
    daily, or more often where Retrain(every=) says so.

    Where charkha operate runs too, one of both leads at a time, and the tasks wait for their turn.
    """
    import shlex

    from charkha.operations.airflow import dag_of
    from charkha.spec.durations import parse_duration

    session = session_of(context)
    require_folder("--output", output)
    project = session.project()
    chosen = choose_model(project, model)
    try:
        every_us = None if every is None else parse_duration(every)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--every") from None
    written = dag_of(chosen, project.root.absolute(), shlex.split(command), every_us)
    if output is None:
        print(written, end="")
    else:
        write_page(output, lambda: written)
        session.out.print(f"charkha_{chosen.name} is written to {output}", highlight=False, soft_wrap=True)


COMMANDS: dict[str, Callable[..., None]] = {"airflow": airflow}
