"""Diagnoses as JSON documents and back: what the ledger keeps, `--json` prints and webhooks send."""

from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import Any

import msgspec

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.incident import Diagnosis

# What JSON cannot say is null: evidence of an identity that does not hold is infinite, a figure there is not is NaN.
_NULLS = {"evidence": inf, "margin": inf, "support": inf, "usual": nan, "now": nan}


def as_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis for JSON: its fields, and beside them a headline, its confidence and its times in ISO 8601."""
    plain: dict[str, Any] = msgspec.to_builtins(diagnosis)
    times = {name: getattr(diagnosis, f"{name}_us") for name in ("began", "earliest", "latest", "until")}
    document: dict[str, Any] = _finite(
        {
            "headline": diagnosis.headline,
            "incident": diagnosis.is_incident,
            "confidence": diagnosis.confidence,
            **{name: None if time_us is None else to_iso(time_us) for name, time_us in times.items()},
            **plain,
        }
    )
    return document


def from_document(document: Mapping[str, Any]) -> Diagnosis:
    """Return the diagnosis of a document. Raises msgspec.ValidationError for another one."""
    return msgspec.convert(_restored(dict(document)), Diagnosis)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _NULLS[name] if each is None and name in _NULLS else _restored(each) for name, each in value.items()}
