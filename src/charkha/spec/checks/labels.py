"""Checks of a model's label and of what the request may carry: what a prediction could not have known is a leak."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import PurePath

import polars as pl

from charkha.spec.checks.expressions import Wanted, expression_faults, roots
from charkha.spec.checks.policies import is_task
from charkha.spec.checks.sources import known_fields
from charkha.spec.checks.values import are_equal, column_faults, duration_faults, quote, repeated, strings
from charkha.spec.checks.views import columns_used
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES
from charkha.spec.model import Label, Model, Task
from charkha.spec.sources import Files, Query, Source
from charkha.spec.views import FeatureView

TRUTHS: Mapping[Task, Wanted] = {"binary": "boolean", "regression": "number"}


def is_usable(label: object) -> bool:
    """Say whether a label is one, over a source with fields, so that more can be said of it."""
    return isinstance(label, Label) and isinstance(label.source, Source) and bool(known_fields(label.source))


def label_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with the label on its own."""
    inner, label = f"{where}, label", model.label
    if not isinstance(label, Label):
        yield Fault(inner, "a ck.Label", quote(label), 'Write ck.Label(source, pl.col("x") > 0, at="…", delay="1d").')
        return
    if not isinstance(label.source, Source):
        yield Fault(f"{inner}.source", "a ck.Source", quote(label.source), "Pass the source itself.")
        return
    fields = known_fields(label.source)
    if not fields:
        return
    wanted = TRUTHS[model.task] if is_task(model.task) else "feature"
    types = {name: POLARS_TYPES[kind] for name, kind in fields.items() if kind in POLARS_TYPES}
    yield from expression_faults(f"{inner}.truth", label.truth, types, wanted)
    yield from duration_faults(f"{inner}.delay", label.delay)
    yield from column_faults(f"{inner}.at", label.at, fields, label.source.name, (datetime,))
    if label.source.static is True:
        remedy = "Give the source its time: a truth without time cannot be split, joined or awaited."
        yield Fault(f"{inner}.source", "a source with time", f"the static source {label.source.name!r}", remedy)
    elif label.known is not None and label.known is not label.source.known:
        yield from column_faults(f"{inner}.known", label.known, fields, label.source.name, (datetime,))


def request_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with the request's fields, above all that they give the truth away."""
    inner, label = f"{where}, request", model.label
    fields = known_fields(label.source)
    truth = roots(label.truth) if isinstance(label.truth, pl.Expr) else []
    for name in repeated(model.request):
        yield Fault(inner, "each field once", f"{name!r} twice", "Name it once.")
    for stray in (name for name in model.request if not isinstance(name, str)):
        yield from column_faults(inner, stray, fields, label.source.name)
    for name in dict.fromkeys(strings(model.request)):
        yield from column_faults(inner, name, fields, label.source.name)
        if name == str(label.at) and fields.get(name) is datetime:
            remedy = "Leave it out: the time of a prediction is the clock's, and expressions may use it by this name."
            yield Fault(inner, "fields beside the time of prediction", quote(name), remedy)
        elif name in truth:
            remedy = f"Leave {name!r} out of the request: the label's truth is made of it, so it would give it away."
            yield Fault(inner, "fields known before the truth", f"{name!r}, a column of the truth", remedy)
        elif name == str(label.known):
            remedy = f"Leave {name!r} out of the request: it is known only when the truth is."
            yield Fault(inner, "fields known before the truth", f"{name!r}, the time the truth was known", remedy)


def truth_seen(view: FeatureView, label: Label) -> set[str]:
    """Return the columns of the label's truth that a view reads from the very rows that the label is of.

    They are those of the label's source, and of any other source over the same files, table or tables of a query.
    """
    same = are_equal(view.source, label.source) or _share_rows(view.source.data, label.source.data)
    return columns_used(view) & set(roots(label.truth)) if same else set()


def _share_rows(one: object, other: object) -> bool:
    """Say whether two sources' data are of the same rows, as far as that can be seen without reading any."""
    if isinstance(one, Query) and isinstance(other, Query):
        return one.url == other.url and bool(_tables(one.text) & _tables(other.text))
    if not isinstance(one, Files) or not isinstance(other, Files):
        return False
    left, right = PurePath(str(one.pattern)).parts, PurePath(str(other.pattern)).parts
    if len(left) > len(right):
        one, left, right = other, right, left
    # What lies in a table's folder is the table's.
    if len(left) != len(right) and one.format not in ("delta", "iceberg"):
        return False
    return all(fnmatchcase(a, b) or fnmatchcase(b, a) for a, b in zip(left, right, strict=False))


def _tables(query: object) -> set[str]:
    """Return the tables that a query names, or the query itself where none can be made out."""
    text = str(query).lower()
    named = re.findall(r"\b(?:from|join)\s+([\w.\"`\[\]]+)", text)
    return {re.sub(r"[\"`\[\]]", "", name) for name in named} or {" ".join(text.split())}


def sees_truth(view: FeatureView, label: Label) -> bool:
    """Say whether a view reads a column of the label's truth."""
    return bool(truth_seen(view, label))


def leak_faults(where: str, label: Label, view: FeatureView) -> Iterator[Fault]:
    """Yield a fault when a view sees a column of the truth before the label says that it is known.

    Also when the source knows a row at the very time of its own prediction: what is known then is seen then.
    """
    if not isinstance(label.truth, pl.Expr) or not sees_truth(view, label):
        return
    source, known = view.source, view.source.known
    times = {name for name, kind in known_fields(label.source).items() if kind is datetime}
    own_times = {name for name, kind in known_fields(source).items() if kind is datetime}
    if not {str(label.known), str(label.at)} <= times or not (source.static is True or str(known) in own_times):
        return
    seen_at_once, seen_early = str(known) == str(label.at), str(known) != str(label.known)
    if not seen_at_once and not seen_early:
        return
    since = "known since always (static)" if source.static is True else f"known from {known!r}"
    for column in sorted(truth_seen(view, label)):
        expected = f"{column!r}, a column of the truth, to be seen only after the prediction, once the truth is known"
        found = f"source {source.name!r} {since}{', the time of the prediction' if seen_at_once else ''}"
        better = f"{label.known!r}" if seen_early else "… (the time at which the truth was known)"
        remedy = f"Declare known={better} on the source, or leave the column out of the view."
        yield Fault(f"{where}, view {view.name!r}", expected, found, remedy)
