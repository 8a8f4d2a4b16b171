"""The check of a million predictions of 35 features: from rows, beside Evidently's drift preset; and from profiles."""

from claims import Measured
from diagnosis_bench import Bench
from diagnosis_cost_work import FEATURES
from diagnosis_peer_tools import EVIDENTLY, with_tool
from features_child import middle
from suite import Compared, Found

ROUNDS = 5


def cost(bench: Bench) -> Found:
    """What the features of a million predictions cost to look at."""
    folder, rows = str(bench.folder / "cost"), bench.extent.rows
    bench.child("diagnosis_cost_work:make", folder=folder, reference=rows // 10, current=rows)
    ours = bench.child("diagnosis_cost_work:from_rows", folder=folder)
    cpu = ours.values["cpu_seconds"]
    tiles = bench.child("diagnosis_cost_work:keep", folder=folder).values["tiles"]
    kept = middle([bench.child("diagnosis_cost_work:from_profiles", folder=folder) for _ in range(ROUNDS)]).values
    note = f"the features' check alone, of {tiles:,.0f} tiles: {kept['cpu_seconds']:.2f} s of processor time"
    yield "check_from_profiles_seconds", Measured(kept["seconds"], note)
    python = EVIDENTLY.python(bench.cache, bench.log)
    theirs = with_tool(python, "cost", bench.log, folder=folder, features=FEATURES).values["cpu_seconds"]
    beside = f"{EVIDENTLY.version(python)}, drift preset"
    yield Compared(f"check of {rows:,} rows", "CPU s", cpu, beside, theirs)
    note = f"the features' check, profiles made of the rows: {cpu:.1f} s beside {theirs:.1f} s of {beside}"
    yield "evidently_cpu_over_check_from_rows", Measured(theirs / cpu, note)
