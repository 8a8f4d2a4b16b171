"""Another artifact answers than the one that was registered: on all replicas, or on one."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.segments import IntArray
from charkha.monitoring.changes import Change
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_served, hit_rows
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import replicas


def _by_another(traffic: Traffic, fault: Fault, rescore: Rescore, places: IntArray, digest: str | None) -> Traffic:
    """Have rows scored by an artifact that takes the columns of the matrix in another order.

    Size 1 is that artifact's own scores, and less is between these and the right ones.
    """
    numbers = [name for name in traffic.features if traffic.predictions.schema[name] == pl.Float64()]
    order = np.roll(np.arange(len(numbers)), 1 + fault.seed % max(1, len(numbers) - 1))  # none in its own place

    def other(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        mixed = rows.with_columns(rows[numbers[take]].alias(name) for name, take in zip(numbers, order, strict=True))
        scores, decisions = rescore(mixed)
        blended = rows["score"] + (pl.Series(scores, nan_to_null=True) - rows["score"]) * (fault.size or 0.0)
        decided = {} if decisions is None else {"decision": pl.Series(decisions)}
        told = {} if digest is None else {"bundle": pl.Series([digest]).new_from_index(0, rows.height)}
        return {"score": blended, **decided, **told}

    return bend_served(traffic, places, rescore, other)


def _announced(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    digest = sha256(f"another artifact {fault.seed}".encode()).hexdigest()
    bent = _by_another(traffic, fault, rescore, hit_rows(traffic, fault), digest)
    versions = traffic.predictions["version"].mode().sort()
    told = Change(fault.since_us, "deploy", str(versions[0]) if len(versions) else traffic.model, "deployed once more")
    return evolve(bent, changes=tuple(sorted((*bent.changes, told))))


def _silent(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    return _by_another(traffic, fault, rescore, hit_rows(traffic, fault), None)


def _bad_replica(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, replicas(traffic, rescore.plan), "a replica")
    places = hit_rows(traffic, fault)
    own = (traffic.predictions["replica"] == fault.subject).fill_null(value=False).to_numpy()
    return _by_another(traffic, fault, rescore, places[own[places]], None)


INCIDENTS = (
    Incident(
        kind="wrong_artifact_announced",
        cause="infrastructure",
        words="a deployment brings another artifact than the registered one: its digest is logged",
        inject=_announced,
        unit="share of the way to the wrong scores",
        size=1.0,
        within="1h",
        rows=50,
        touches={"predictions", "changes"},
    ),
    Incident(
        kind="wrong_artifact_silent",
        cause="infrastructure",
        words="the scores are of another artifact than the logged digest says, and nobody deployed anything",
        inject=_silent,
        unit="share of the way to the wrong scores",
        size=1.0,
        within="2h",
        rows=100,
        touches={"predictions"},
    ),
    Incident(
        kind="bad_replica",
        cause="infrastructure",
        words="one replica answers with the scores of another artifact",
        inject=_bad_replica,
        subjects=replicas,
        unit="share of the way to the wrong scores",
        size=1.0,
        within="2h",
        rows=200,
        touches={"predictions"},
    ),
)
