"""The figures of a model card: metrics by part and by slice, gates, and where the model is weakest."""

from collections.abc import Iterator, Mapping

from charkha.bundles.manifest import Estimate, Manifest
from charkha.governance.markdown import plain, table
from charkha.spec.model import METRICS

MOST_SLICES = 20
WEAKEST = 3

Found = Mapping[str, Estimate]


def metrics_lines(manifest: Manifest) -> list[str]:
    """Return the table of metrics, a line per part; nothing when none were measured."""
    lines = _figures("part", manifest.metrics)
    return (
        ["With 95 % confidence intervals. Decisions about the model rest on the test rows.", "", *lines]
        if lines
        else []
    )


def slices_lines(manifest: Manifest) -> list[str]:
    """Return a table per slice field, the largest slices first."""
    lines: list[str] = []
    for field, by_value in manifest.slices.items():
        largest = sorted(by_value.items(), key=lambda item: -_rows(item[1]))
        lines += ["", *_figures(field, dict(largest[:MOST_SLICES]))]
        lines += ["", f"And {len(largest) - MOST_SLICES} smaller ones."] if len(largest) > MOST_SLICES else []
    return lines[1:]


def gates_lines(manifest: Manifest) -> list[str]:
    """Return the table of gates."""
    rows = [
        (plain(gate.name), "passed" if gate.passed else "**failed**", _estimate(gate.value), plain(gate.reason))
        for gate in manifest.gates
    ]
    return table(("gate", "result", "measured", "reason"), rows)


def weakest_lines(manifest: Manifest) -> list[str]:
    """Return a line on the slices that are worse than the whole beyond chance, the worst first; nothing without any."""
    test = manifest.metrics.get("test", {})
    metric = next((name for name in test if name in METRICS[manifest.task]), None)
    if metric is None:
        return []
    sign = 1 if METRICS[manifest.task][metric] else -1
    worse = sorted(_worse_than(test[metric], metric, sign, manifest), key=lambda item: sign * item[1].value)
    if not worse:
        return [f"- By {metric}, no slice that was measured is worse than the whole beyond chance."]
    named = ", ".join(f"{name} {_estimate(found)}" for name, found in worse[:WEAKEST])
    return [f"- By {metric}, it is weakest for {named}; on all test rows {_estimate(test[metric])}."]


def _worse_than(whole: Estimate, metric: str, sign: int, manifest: Manifest) -> Iterator[tuple[str, Estimate]]:
    for field, by_value in manifest.slices.items():
        for value, found in by_value.items():
            if metric in found and max(sign * found[metric].low, sign * found[metric].high) < sign * whole.value:
                yield f"{plain(field)} {plain(value)}", found[metric]


def _figures(what: str, by_name: Mapping[str, Found]) -> list[str]:
    """Return a table with a line per name, a column per metric, and the number of rows."""
    metrics = list(dict.fromkeys(metric for found in by_name.values() for metric in found))
    rows = [
        (plain(name), *(_estimate(found.get(metric)) for metric in metrics), f"{_rows(found):,}")
        for name, found in by_name.items()
    ]
    return table((plain(what), *map(plain, metrics), "rows"), rows)


def _rows(found: Found) -> int:
    return max((estimate.n for estimate in found.values()), default=0)


def _estimate(found: Estimate | None) -> str:
    return "–" if found is None else f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
