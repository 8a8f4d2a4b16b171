"""Progress on stderr: drawn on a terminal; into a file, lines of what takes minutes, and nothing of all else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

Step = Callable[[str], None]
Part = Callable[[int, int, str], None]


@contextmanager
def steps(console: Console, *, lines: bool = False) -> Iterator[Step]:
    """Yield a function that is told what is being done; on a terminal it is shown while it lasts.

    lines: whether elsewhere it is a line; else it is nothing there.
    """
    if not console.is_terminal:
        yield (lambda text: _line(console, text)) if lines else (lambda text: None)
        return
    with console.status("starting") as status:
        yield lambda text: status.update(escape(text))


@contextmanager
def parts(console: Console, *, lines: bool = False) -> Iterator[Part]:
    """Yield a function that is told how much of how much is done, and what; on a terminal it draws a bar.

    lines: whether elsewhere each tenth is a line, and what is done before and after; else it is nothing there.
    """
    if not console.is_terminal:
        yield _in_lines(console) if lines else (lambda done, total, text: None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda done, total, text: progress.update(
            task, completed=done, total=total or None, description=escape(text)
        )


def _in_lines(console: Console) -> Part:
    told: set[int | str] = set()

    def tell(done: int, total: int, text: str) -> None:
        tenth = 10 * done // total if total else 0
        if (key := tenth if done else text) not in told:
            told.add(key)
            _line(console, f"{text} ({10 * tenth} %)" if tenth else text)

    return tell


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def stoppable(console: Console, remains: str) -> Iterator[None]:
    """Say what remains when Ctrl-C stops what is done meanwhile."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"stopped: {remains}", highlight=False, markup=False)
        raise
