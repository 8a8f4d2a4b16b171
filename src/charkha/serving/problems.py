"""What of a deployment could not be loaded: in full for the server's own log, and as much as clients may know."""

from collections.abc import Collection

from attrs import frozen


class UnusableBundle(Exception):
    """A bundle that loads, but whose features cannot be computed from the requests that the definition describes."""


@frozen
class Problem:
    """Something that could not be loaded. said: all of it, with paths and digests. told: the same without these."""

    said: str
    told: str


def problem_of(what: str, error: Exception) -> Problem:
    """Return why something could not be loaded. what: in words, of what deployments are public."""
    kind = type(error).__name__
    told = str(error) if isinstance(error, UnusableBundle) else f"{kind}. The server's own log says more"
    return Problem(f"{what}: {error}", f"{what}: {told}")


def together(problems: Collection[Problem]) -> Problem | None:
    """Return problems as one; None where there is none."""
    if not problems:
        return None
    return Problem("; ".join(each.said for each in problems), "; ".join(each.told for each in problems))
