"""What a card says of the rows that a version was not made from: times of incidents, and what was in quarantine."""

from charkha.bundles.manifest import Lineage, SetAside, Updated, WindowLeftOut
from charkha.clock import to_iso
from charkha.governance.markdown import plain


def left_out_lines(lineage: Lineage) -> list[str]:
    """Return what was left out, and what else sets a version apart from one of the whole definition."""
    lines = [_window(window) for window in lineage.windows_left_out]
    lines += [_aside(source, found) for source, found in lineage.set_aside.items()]
    if lineage.without:
        lines.append(f"It was made without {', '.join(map(plain, lineage.without))}.")
    if lineage.recalibrated:
        lines.append(f"It is {plain(lineage.recalibrated)} in all but its calibration and threshold.")
    if lineage.updated:
        lines.append(_updated(lineage.updated))
    return lines


def _updated(found: Updated) -> str:
    when = f"from {to_iso(found.from_us)} to {to_iso(found.until_us)}"
    return f"It updates {plain(found.version)} with {found.rows:,} rows {when}, and learnt nothing else anew."


def _window(window: WindowLeftOut) -> str:
    when = f"from {to_iso(window.since_us)} until {to_iso(window.until_us)}"
    also = ", and those whose label became known then" if window.by_label else ""
    of_what = f"the time of incident {plain(window.incident)} ({plain(window.cause)})"
    return f"{window.rows:,} more were left out: {of_what}, {when}{also}."


def _aside(source: str, found: SetAside) -> str:
    kinds = ((found.batches, f"pushed batches ({found.rows:,} rows)"), (found.files, "files"))
    return (
        f"In quarantine, and not read, of {plain(source)}: " + ", ".join(f"{n} {kind}" for n, kind in kinds if n) + "."
    )
