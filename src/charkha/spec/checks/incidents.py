"""Faults of the incidents that a project declares for drills, and of the gates that drill with them."""

import inspect
from collections.abc import Iterator, Sequence

from charkha.spec.checks.values import duration_faults, listing, number_faults, quote, repeated, way_to
from charkha.spec.drills import CAUSES, KINDS, PAIR, Bend, DeclaredIncident
from charkha.spec.durations import parse_duration
from charkha.spec.faults import Fault
from charkha.spec.gates import SurvivesDrill
from charkha.spec.model import Model


def incident_faults(declared: Sequence[DeclaredIncident]) -> Iterator[Fault]:
    """Yield what is wrong with incidents, each by itself and all together."""
    names = [each.name for each in declared]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(f"incident {name!r}", "one under this name", f"{names.count(name)}", "Rename all but one.")
    for each in declared:
        where = f"incident {each.name!r}"
        if not each.name.isidentifier():
            yield Fault(f"{where}, name", "letters, digits and _", quote(each.name), 'Write "late_feed", say.')
        yield from number_faults(f"{where}, size", each.size, "a number", -1e12, 1e12)
        if not _takes_three(each.bend):
            remedy = "Write def name(rows, size, seed): … and return rows.with_columns(…)."
            yield Fault(where, "a function of the rows, the size and the seed", "another one", remedy)
        if each.cause not in CAUSES:
            yield Fault(f"{where}, cause", f"one of {listing(CAUSES)}", quote(each.cause), 'Write cause="source", say.')
        if each.rows < 1:
            yield Fault(f"{where}, rows", "a whole number from 1", quote(each.rows), "Write rows=200, say.")
        try:
            parse_duration(each.within)
        except ValueError as error:
            yield Fault(f"{where}, within", "a duration", quote(each.within), f'Write within="2h", say: {error}')


def _takes_three(bend: Bend) -> bool:
    try:
        inspect.signature(bend).bind(None, 0.0, 0)
    except (TypeError, ValueError):
        return False
    return True


def drill_gate_faults(where: str, gate: SurvivesDrill) -> Iterator[Fault]:
    """Yield what is wrong with a drill but for its kinds, which the project may declare."""
    if not gate.kinds:
        yield Fault(where, "at least one kind of incident", "none", 'Write ck.survives_drill("unit_change"), say.')
    for kind in repeated(gate.kinds):
        yield Fault(where, "each kind once", f"{kind!r} twice", "Name it once, and ask for more of it with times.")
    yield from number_faults(f"{where}, share", gate.share, "a share between 0 and 1", 0, 1)
    if isinstance(gate.times, bool) or not isinstance(gate.times, int):
        yield Fault(f"{where}, times", "a whole number", quote(gate.times), "Write times=3, say.")
    else:
        yield from number_faults(f"{where}, times", gate.times, "a whole number from 1 to 100", 1, 100)
    yield from duration_faults(f"{where}, window", gate.window)


def drilled_kind_faults(models: Sequence[Model], declared: Sequence[DeclaredIncident]) -> Iterator[Fault]:
    """Yield a fault for each kind that a gate drills, and that is neither of the catalogue nor declared."""
    known = [*KINDS, *(each.name for each in declared)]
    for model in models:
        for gate in model.gates:
            drilled = gate.kinds if isinstance(gate, SurvivesDrill) else ()
            for kind in (part for each in drilled for part in str(each).split(PAIR, 1)):
                if kind not in known:
                    where = f"model {model.name!r}, gate SurvivesDrill"
                    remedy = f"{way_to(kind, known, 'Kinds')} Or declare it with @ck.incident."
                    yield Fault(where, "a kind of incident", quote(kind), remedy)
