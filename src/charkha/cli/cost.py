"""`charkha cost`: what was used, and what it cost by the user's own prices."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.governance.cost.report import By, Line, Report
    from charkha.governance.cost.stored import Stored
    from charkha.spec.prices import Price, Prices

EXAMPLES = {
    "cost": (
        "charkha cost",
        "charkha cost likes --by stage --since 2026-03-01",
        "charkha cost --by team --prices prices.toml --json",
    )
}


def cost(
    context: typer.Context,
    *,
    model: ModelName = None,
    by: Annotated[str, typer.Option(metavar="WHAT", help="model, team, stage or run: what each line is of.")] = "model",
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Count what began from then on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Count what began before.")] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, exists=True, help="Prices in TOML, in place of those the models declare."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what training, looks, the operator and the workers used, and what that cost.

    Processor time, memory, bytes and devices are metered of each process as a whole and of its stages. What the stages
    leave of the whole is the unattributed share. Prices are the model's own, prices=ck.Prices(cpu_hour=…), or those of
    --prices: cpu_hour, gb_hour, gpu_hour, gb_moved, gb_stored_month and currency. What has no price, or was not
    measured, is of unknown cost, and said to be: never 0.

    What was served since the operator's last look is counted first, as it does.
    """
    from charkha.governance.cost.report import BY, report
    from charkha.governance.cost.stored import stored, stored_bytes
    from charkha.monitoring.serving_usage import meter_serving

    if by not in BY:
        raise typer.BadParameter(f"expected one of {', '.join(BY)}, got {by!r}.", param_hint="--by")
    wanted: By = by
    session = session_of(context)
    project = session.project()
    name = None if model is None else choose_model(project, model).name
    span = (_moment(since, "--since"), _moment(until, "--until"))
    tables = {each.name: each.prices for each in project.models.values()}
    if prices is not None:
        tables = dict.fromkeys(tables, _read(prices))
    with opened(project) as home:
        for each in project.models.values():
            meter_serving(home, each)
        usages = home.ledger.usage(name, since_us=span[0], until_us=span[1])
        sizes, _ = stored_bytes(home.folder, list(project.models))
    kept = [stored(each, size, tables[each]) for each, size in sizes.items() if name in (None, each)]
    found = report(usages, tables, wanted)
    if json:
        session.print_json(_plain(found, kept))
    else:
        _show(session, found, kept)


def _moment(text: str | None, option: str) -> int | None:
    from charkha.clock import parse_time

    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _read(path: Path) -> "Prices":
    from charkha.spec.prices import BadPrices, read_prices

    try:
        return read_prices(path)
    except BadPrices as error:
        raise typer.BadParameter(str(error), param_hint="--prices") from None


def _plain(found: "Report", kept: "list[Stored]") -> dict[str, Any]:
    return {
        "by": found.by,
        "lines": [_plain_line(line) for line in found.lines],
        "total": None if found.total is None else _plain_line(found.total),
        "unattributed": found.unattributed,
        "stored": [{"model": each.model, "bytes": each.bytes, "month": _plain_price(each.month)} for each in kept],
    }


def _plain_line(line: "Line") -> dict[str, Any]:
    from attrs import asdict

    counted = ("wall_seconds", "cpu_seconds", "rows", "peak_bytes", "memory_gb_seconds", "read_bytes", "written_bytes")
    used = asdict(line.used)
    return {
        "name": line.name,
        "runs": line.runs,
        **{name: used[name] for name in (*counted, "gpu_seconds")},
        "unattributed": line.unattributed,
        "cost": _plain_price(line.price),
        "cost_per_1000": None if line.per_1000 is None else _plain_price(line.per_1000),
    }


def _plain_price(price: "Price") -> dict[str, Any]:
    """Return a price for `--json`: null where nothing of it is known."""
    nothing = bool(price.unknown) and not price.amount
    return {"amount": None if nothing else price.amount, "currency": price.currency, "unknown": price.unknown}


def _show(session: Session, found: "Report", kept: "list[Stored]") -> None:
    if found.total is None:
        session.out.print("nothing was metered yet: the next training, or the operator, begins", highlight=False)
    else:
        session.out.print(_table(found))
        if any(line.price.unknown for line in found.lines):
            session.out.print("[dim]what has no price, or was not measured, comes on top[/]", highlight=False)
    for each in kept:
        month = escape(each.month.text)
        words = f"{escape(each.model)} keeps {_size(each.bytes)} on disk now, which costs {month} a month"
        session.out.print(words, highlight=False)


def _table(found: "Report") -> Table:
    titles = ["CPU s", "wall s", "peak", "GB h", "moved", "GPU s", "rows", "unattributed", "cost", "per 1,000"]
    table = Table(found.by, "runs", *titles, box=None, header_style="dim", pad_edge=False)
    for line in (*found.lines, *([found.total] if found.total else [])):
        used = line.used
        moved = None if used.read_bytes is None or used.written_bytes is None else used.read_bytes + used.written_bytes
        table.add_row(
            escape(line.name),
            str(line.runs),
            f"{used.cpu_seconds:,.1f}",
            f"{used.wall_seconds:,.1f}",
            _size(used.peak_bytes),
            "?" if used.memory_gb_seconds is None else f"{used.memory_gb_seconds / 3600:,.3f}",
            _size(moved),
            "?" if used.gpu_seconds is None else f"{used.gpu_seconds:,.1f}",
            f"{used.rows:,}" if used.rows else "",
            "" if line.unattributed is None else f"{line.unattributed:.1%}",
            escape(line.price.text),
            "" if line.per_1000 is None else escape(line.per_1000.text),
        )
    return table


def _size(count: int | None) -> str:
    """Return a number of bytes in words; "?" for one that nobody knows."""
    if count is None:
        return "?"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"
