"""How the command line words errors and examples."""

import sys
from collections.abc import Callable, Sequence
from inspect import cleandoc

from rich.markup import escape

# Errors that mean: this command cannot be meant for here. The rest are of the work itself.
USAGE_ERRORS = (
    "ProjectNotFound",
    "UnknownModel",
    "UnknownVersion",
    "UnknownBatch",
    "UnknownFile",
    "UnknownKey",
    "UnknownIncident",
    "UnknownDecision",
    "UnknownRun",
    "ImpossibleKey",
    "BadName",
)


def help_of(command: Callable[..., None]) -> str:
    """Return a command's docstring with each paragraph on one line: the terminal wraps it, not the source."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def examples_of(command: Callable[..., None]) -> str:
    """Return the last part of a command's help: the examples that its module gives under the command's name."""
    lines: Sequence[str] = vars(sys.modules[command.__module__])["EXAMPLES"][command.__name__]
    return "\n".join(("[bold]Examples[/]", *(f"  [cyan]{escape(line)}[/]" for line in lines)))


def exit_code(error: Exception) -> int:
    """Return the exit code for an error: 2 where the command was not written rightly, else 1."""
    told = getattr(error, "exit_code", None)  # Typer's own errors know theirs
    if isinstance(told, int):
        return told
    return 2 if type(error).__name__ in USAGE_ERRORS else 1


def failure_json(error: Exception) -> str:
    """Return an error as one JSON object on one line, `{"error": {"kind", "message"}}`, for `--json`."""
    from msgspec import json

    format_message = getattr(error, "format_message", None)  # of Typer's own errors
    said: str = failure_text(error) if format_message is None else format_message()
    told = {"kind": type(error).__name__, "message": said.removeprefix("charkha: ")}
    return json.encode({"error": told}).decode()


def failure_text(error: Exception) -> str:
    """Return one clear message for an error: Charkha's own speak for themselves, all others are named."""
    if type(error).__module__.startswith("charkha."):
        return f"charkha: {error}"
    kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
    return f"charkha: {kind}{error}\nThis was not foreseen. Run it again with --debug to see where it happened."
