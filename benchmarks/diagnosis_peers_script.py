"""The same work with other tools. Runs in the environment of each, which has nothing of Charkha.

Arguments: one JSON object, whose "work" is one of WORKS. Its last line is JSON, as that of features_child.py. A pair is
a folder with reference.parquet and window.parquet: `at` (µs), features (numbers and text), `score` and `label`.
"""

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OTHERS = ("at", "score", "label")
DAY_US, MONDAY = 86_400_000_000, "2024-01-01"
LEAST_ROWS = 30  # of a pair to be looked at
# KSWIN sorts a window for every value: it gets this many of the reference and of the window, evenly spread.
THINNED = (200, 300)


def cost(folder: str, features: list[str]) -> dict[str, float]:
    """Run Evidently's drift preset; processor time of the preset alone, the frames being there."""
    import pandas as pd

    reference, current = (pd.read_parquet(f"{folder}/{name}.parquet", columns=features) for name in OF_COST)
    _drift(reference.head(1000), current.head(1000), features)  # what it does once is no cost of a check
    began = _spent()
    drifted = _drift(reference, current, features)
    return {"cpu_seconds": _spent() - began, "features": drifted}


OF_COST = ("reference", "current")


def evidently(folder: str) -> dict[str, float]:
    """Say of each pair whether the data set drifted (half of the columns did), and whether any column did."""
    found: dict[str, float] = {}
    for name, reference, window, features, gone in _pairs(folder):
        count = gone + _drift(reference, window, features)
        share = count / (gone + len(features))
        found |= {f"{name}:dataset": float(share >= 0.5), f"{name}:column": float(count > 0)}
    return found


def _drift(reference: Any, current: Any, features: list[str]) -> float:
    """Return how many columns drifted."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers, texts = _kinds(reference, features)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    report = Report([DataDriftPreset(columns=numbers + texts)])
    both = (Dataset.from_pandas(each[features], definition) for each in (current, reference))
    return float(report.run(*both).dict()["metrics"][0]["value"]["count"])


def nannyml(folder: str) -> dict[str, float]:
    """Say of each pair whether any feature alerts, and of those with a binary label whether CBPE does.

    Chunks are weeks: the window begins on a Monday, and the reference is the four before it.
    """
    import nannyml as nml

    found: dict[str, float] = {}
    for name, reference, window, features, gone in _pairs(folder):
        _, texts = _kinds(reference, features)
        drift = nml.UnivariateDriftCalculator(
            column_names=features, treat_as_categorical=texts, timestamp_column_name="time", chunk_period="W"
        )
        result = drift.fit(reference).calculate(window).filter(period="analysis").to_df()
        alerts = result.xs("alert", axis=1, level=-1).to_numpy(dtype=bool)
        found[f"{name}:drift"] = float(gone > 0 or alerts.any())
        if set(reference["label"].dropna().unique()) == {0.0, 1.0}:
            alert = _cbpe(reference, window).to_df()[("roc_auc", "alert")]
            found[f"{name}:cbpe"] = float(alert.to_numpy(dtype=bool).any())
    return found


def cbpe(folder: str) -> dict[str, float]:
    """Return of each pair what CBPE estimates of ROC AUC, and the standard error that it gives."""
    found: dict[str, float] = {}
    for name, reference, window, _, _ in _pairs(folder):
        result = _cbpe(reference, window).to_df()["roc_auc"].iloc[0]
        found |= {f"{name}:value": float(result["value"]), f"{name}:error": float(result["sampling_error"])}
    return found


def _cbpe(reference: Any, window: Any) -> Any:
    import nannyml as nml

    told = reference.dropna(subset=["label"])
    estimator = nml.CBPE(
        y_pred_proba="score",
        y_pred="decision",
        y_true="label",
        problem_type="classification_binary",
        metrics=["roc_auc"],
        timestamp_column_name="time",
        chunk_period="W",
    )
    return estimator.fit(told).estimate(window.drop(columns="label")).filter(period="analysis")


def river(folder: str) -> dict[str, float]:
    """Say of each pair whether any number's detector, fed row by row, found a change within the window."""
    from river.drift import ADWIN, KSWIN, PageHinkley

    found: dict[str, float] = {}
    for name, reference, window, features, gone in _pairs(folder):
        numbers, _ = _kinds(reference, features)
        detectors = {"adwin": ADWIN, "pagehinkley": PageHinkley, "kswin": lambda: KSWIN(seed=1)}
        rang = dict.fromkeys(detectors, gone > 0)
        for number in numbers:
            before, now = _standardised(reference[number], window[number])
            for kind, made in detectors.items():
                streams = (before, now)
                if kind == "kswin":
                    streams = _thinned(before, THINNED[0]), _thinned(now, THINNED[1])
                rang[kind] = rang[kind] or _rings(made(), *streams)
        found |= {f"{name}:{kind}": float(each) for kind, each in rang.items()}
    return found


def _standardised(before: Any, now: Any) -> tuple[list[float], list[float]]:
    """Return both in standard deviations of the first, without nulls: thresholds are for numbers of size one."""
    mean, deviation = before.mean(), before.std()
    scaled = [((each.dropna() - mean) / (deviation or 1.0)).tolist() for each in (before, now)]
    return scaled[0], scaled[1]


def _thinned(values: list[float], count: int) -> list[float]:
    return values[:: max(1, len(values) // count)][:count]


def _rings(detector: Any, before: list[float], now: list[float]) -> bool:
    for value in before:
        detector.update(value)
    for value in now:
        detector.update(value)
        if detector.drift_detected:
            return True
    return False


def _pairs(folder: str) -> Iterator[tuple[str, Any, Any, list[str], int]]:
    """Yield of each pair of any size its name, both frames with `time` and `decision`, and the features to look at.

    Last how many features are always null in the window alone: no tool can look at them, and each is said to see it.
    """
    import pandas as pd

    for path in sorted(Path(folder).iterdir()):
        frames = [pd.read_parquet(path / f"{name}.parquet") for name in ("reference", "window")]
        if min(map(len, frames)) < LEAST_ROWS:
            continue
        begin = frames[1]["at"].min() // DAY_US * DAY_US
        for frame in frames:
            frame["time"] = pd.Timestamp(MONDAY) + pd.to_timedelta(frame["at"] - begin, unit="us")
            frame["decision"] = (frame["score"] > 0.5).astype(int)
        features = [name for name in frames[0].columns if name not in (*OTHERS, "time", "decision")]
        told = [name for name in features if frames[0][name].notna().any()]
        known = [name for name in told if frames[1][name].notna().any()]
        yield path.name, *frames, known, len(told) - len(known)


def _kinds(frame: Any, features: list[str]) -> tuple[list[str], list[str]]:
    numbers = [name for name in features if frame[name].dtype.kind in "fiu"]
    return numbers, [name for name in features if name not in numbers]


def _spent() -> float:
    """Return the processor time of this process and of those it waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


WORKS: dict[str, Callable[..., dict[str, float]]] = {
    "cost": cost,
    "evidently": evidently,
    "nannyml": nannyml,
    "cbpe": cbpe,
    "river": river,
}


def main() -> None:
    """Do the work that was asked for."""
    warnings.filterwarnings("ignore")
    for switch in ("NML_DISABLE_USAGE_LOGGING", "DO_NOT_TRACK"):
        os.environ[switch] = "1"
    arguments = json.loads(sys.argv[1])
    values = WORKS[arguments.pop("work")](**arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"values": values, "peak_rss_bytes": peak, "process_cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
