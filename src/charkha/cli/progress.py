"""Progress on the terminal: on stderr, and only when somebody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

Step = Callable[[str], None]
Part = Callable[[int, int, str], None]


@contextmanager
def steps(console: Console) -> Iterator[Step]:
    """Yield a function that is told what is being done; on a terminal it is shown while it lasts."""
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("starting") as status:
        yield lambda text: status.update(escape(text))


@contextmanager
def parts(console: Console) -> Iterator[Part]:
    """Yield a function that is told how much of how much is done, and what; on a terminal it draws a bar."""
    if not console.is_terminal:
        yield lambda done, total, text: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda done, total, text: progress.update(
            task, completed=done, total=total or None, description=escape(text)
        )


@contextmanager
def stoppable(console: Console, remains: str) -> Iterator[None]:
    """Say what remains when Ctrl-C stops what is done meanwhile."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"stopped: {remains}", highlight=False, markup=False)
        raise
