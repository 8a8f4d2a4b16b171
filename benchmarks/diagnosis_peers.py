"""What other tools flag of natural weeks and of drills, beside what a diagnosis finds in the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen
from claims import Measured
from diagnosis_bench import FIRST_DAY, SHOWN_ON, Bench, read_seen
from diagnosis_looks import WATCHED_DAYS, Seen, days_of
from diagnosis_pairs import NATURAL, pair_name
from diagnosis_peer_tools import EVIDENTLY, NANNYML, RIVER, Tool, with_tool
from diagnosis_worlds import world
from suite import Found, PeerMissing

# On days of which nothing was learnt; of each cause what a table of features may show, and what it may not.
DRILLED_ON: Mapping[str, int] = {name: days[0] for name, days in SHOWN_ON.items()}
KINDS = ("unit_change", "null_flood", "stale_store", "skew_transform", "concept_sudden", "bad_replica")
# One natural week in so many: of a tool that looks at every row of every column, more would take hours.
EVERY = 4


@frozen
class Rule:
    """When a tool is said to have flagged a window. name: of the rule. work: of the script. flag: as that calls it."""

    name: str
    tool: Tool
    work: str
    flag: str

    @property
    def figures(self) -> tuple[str, str]:
        """The figures of natural weeks, and of harmful drills."""
        return f"{self.name}_natural_weeks_flagged", f"{self.name}_harmful_drills_flagged"


RULES = (
    Rule("evidently_half_of_the_columns", EVIDENTLY, "evidently", "dataset"),
    Rule("evidently_any_column", EVIDENTLY, "evidently", "column"),
    Rule("nannyml_drift_of_any_column", NANNYML, "nannyml", "drift"),
    Rule("nannyml_cbpe", NANNYML, "nannyml", "cbpe"),
    Rule("river_adwin_of_any_column", RIVER, "river", "adwin"),
    Rule("river_page_hinkley_of_any_column", RIVER, "river", "pagehinkley"),
    Rule("river_kswin_of_any_column", RIVER, "river", "kswin"),
)
OURS = ("charkha_natural_weeks_flagged", "charkha_harmful_drills_flagged")


def peers(bench: Bench) -> Found:
    """Natural weeks and drills of all worlds, by each tool; one that cannot be had does not keep the others."""
    weeks = {name: _natural_days(bench, name) for name in DRILLED_ON}
    ours = {pair_name(each.world, each.day, each.kind): _found(each) for each in _ours(bench, weeks)}
    yield from zip(OURS, _shares(ours), strict=True)
    folder, missing = _pairs(bench, weeks), dict[str, str]()
    said: dict[str, Mapping[str, float]] = {}
    for rule in RULES:
        if rule.work not in said:
            try:
                said[rule.work] = _by_tool(bench, rule, folder)
            except PeerMissing as error:
                bench.tell(f"    {error}")
                said[rule.work], missing[rule.tool.name] = {}, str(error)
        told = {name: bool(flag) for name in ours if (flag := said[rule.work].get(f"{name}:{rule.flag}")) is not None}
        if told:
            same = _shares({name: ours[name] for name in told})
            for figure, theirs, mine in zip(rule.figures, _shares(told), same, strict=True):
                yield figure, evolve(theirs, note=f"{theirs.note}; of the same by charkha {mine.note}")
    if missing:
        raise PeerMissing("; ".join(missing.values()))


def _natural_days(bench: Bench, name: str) -> list[int]:
    step = WATCHED_DAYS * max(EVERY, bench.extent.every_week)
    return list(range(FIRST_DAY, days_of(world(name).traffic) - WATCHED_DAYS + 1, step))


def _ours(bench: Bench, weeks: Mapping[str, Sequence[int]]) -> list[Seen]:
    found: list[Seen] = []
    for name, days in weeks.items():
        bench.tell(f"    diagnosis of {name} …")
        out = bench.folder / f"beside-{name}.jsonl"
        bench.child("diagnosis_looks:weeks", name=name, days=days, out=str(out))
        found += read_seen(out)
        day = DRILLED_ON[name]
        bench.child("diagnosis_looks:drills", name=name, day=day, kinds=KINDS, scales=[1.0], out=str(out))
        found += [each for each in read_seen(out) if each.harmful]
    return found


def _found(seen: Seen) -> bool:
    """Say whether a drill was found within its window; of a natural week, whether there was an alarm."""
    return seen.in_time if seen.kind else seen.after_hours is not None


def _pairs(bench: Bench, weeks: Mapping[str, Sequence[int]]) -> Path:
    folder = bench.folder / "pairs"
    for name, days in weeks.items():
        bench.child("diagnosis_pairs:natural", name=name, days=days, folder=str(folder))
        bench.child("diagnosis_pairs:drills", name=name, day=DRILLED_ON[name], kinds=KINDS, folder=str(folder))
    return folder


def _by_tool(bench: Bench, rule: Rule, folder: Path) -> Mapping[str, float]:
    bench.tell(f"    {rule.tool.name} …")
    python = rule.tool.python(bench.cache, bench.log)
    return with_tool(python, rule.work, bench.log, folder=str(folder)).values


def _shares(flagged: Mapping[str, bool]) -> tuple[Measured, Measured]:
    """Return the share of natural weeks that are flagged, and that of drills."""
    weeks = [each for name, each in flagged.items() if name.endswith(NATURAL)]
    drills = [each for name, each in flagged.items() if not name.endswith(NATURAL)]
    return _share(weeks), _share(drills)


def _share(flagged: Sequence[bool]) -> Measured:
    return Measured(sum(flagged) / len(flagged) if flagged else float("nan"), f"{sum(flagged)} of {len(flagged)}")
