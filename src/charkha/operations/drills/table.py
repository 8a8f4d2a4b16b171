"""The catalogue as a table: what the documentation shows, and a test holds it to."""

from collections.abc import Iterator

from charkha.operations.drills.catalogue import INCIDENTS
from charkha.operations.drills.incident import Incident
from charkha.spec.drills import CAUSES

HEADER = ("kind", "what happens", "hits", "size (default)", "must be found", "within")


def rows() -> Iterator[str]:
    """Yield the lines of the table in Markdown, by cause."""
    yield _line(("cause", *HEADER))
    yield _line(["---"] * (len(HEADER) + 1))
    for incident in sorted(INCIDENTS.values(), key=lambda each: (CAUSES.index(each.cause), each.kind)):
        yield _line((incident.cause, *_cells(incident)))


def _cells(incident: Incident) -> tuple[str, ...]:
    hits = "every row" if incident.every_row else "some rows"
    size = "" if incident.unit == "none" else f"{incident.unit} ({incident.size:g})"
    many = f"{incident.rows:,} {'labels' if incident.by_labels else 'questions'}"
    found = f"{incident.within} and {'one question' if incident.rows == 1 else many}" if incident.harmful else ""
    return (f"`{incident.kind}`", incident.words, hits, size, "yes" if incident.harmful else "no", found)


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
