"""The draft of a post-mortem in Markdown: what is known is filled in, what only people know is asked."""

import re
from collections.abc import Iterator, Sequence

from charkha.monitoring.changes import Change
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.wording import facts, figure, moment, strength

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def render_postmortem(diagnosis: Diagnosis, changes: Sequence[Change] = ()) -> str:
    """Return the draft. changes: what was changed around it, in the order of their times."""
    return "\n".join(_lines(diagnosis, changes)) + "\n"


def _lines(found: Diagnosis, changes: Sequence[Change]) -> Iterator[str]:
    yield f"# {plain(found.model)}: {plain(found.headline)}"
    yield ""
    yield "Status: draft. Author: … Reviewed by: …"
    yield ""
    yield from ("## Summary", "")
    yield from (f"- **{word}**: {plain(text)}" for word, text in facts(found))
    yield from ("", "## Timeline (UTC)", "")
    yield from (f"- {moment(time_us)}: {plain(text)}" for time_us, text in _events(found, changes))
    yield from ("", "## Evidence", "")
    if found.evidence:
        yield from (
            "| what | check | usually | now | unit | rows | log e |",
            "| --- | --- | ---: | ---: | --- | ---: | ---: |",
        )
    for each in found.evidence:
        cells = (
            plain(each.words),
            each.check,
            figure(each.usual),
            figure(each.now),
            plain(each.unit),
            f"{each.rows:,}",
        )
        yield f"| {' | '.join(cells)} | {strength(each)} |"
    yield from ("", "## What was ruled out", "")
    for rival in found.rivals:
        yield f"- {plain(rival.kind)} ({rival.cause}): {plain(rival.against) or 'not ruled out, it stands as well'}"
    yield from ("", "## What was done", "", f"- [ ] {plain(found.remedy.words)}", "- [ ] …")
    yield from ("", "## Why it could happen", "", "…")
    yield from ("", "## What will be different", "", "- [ ] … (owner, date)")


def _events(found: Diagnosis, changes: Sequence[Change]) -> list[tuple[int, str]]:
    events = [(each.time_us, f"{each.kind} {each.subject}: {each.words}") for each in changes if _is_near(each, found)]
    if found.began_us is not None:
        events.append((found.began_us, "it began, most likely"))
    alarmed = [each.alarmed_us for each in found.evidence]
    if alarmed:
        events.append((min(alarmed), "the evidence was enough"))
    if found.until_us is not None:
        events.append((found.until_us, "it was over"))
    return sorted([*events, (found.watched.until_us, "this diagnosis")])


def _is_near(change: Change, found: Diagnosis) -> bool:
    """Say whether a change lies within what was looked at."""
    return found.watched.since_us <= change.time_us < found.watched.until_us


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
