"""What a model's features are made of, as one object: built from the definition, stored in the bundle, run anywhere."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from attrs import asdict, field, frozen

from charkha.features.evaluate import Plain
from charkha.features.expressions import expression_from_json, expression_to_json, plain_value
from charkha.spec.aggregates import Aggregate, Measure, Ratio
from charkha.spec.fields import FieldType
from charkha.spec.model import Model
from charkha.spec.sources import Entity, Source
from charkha.spec.views import FeatureView, RequestFeatures

_FIELD_TYPES: Mapping[str, FieldType] = {kind.__name__: kind for kind in (str, int, float, bool, datetime)}


@frozen(eq=False)
class FeaturePlan:
    """How a request becomes features.

    views: whose features are fetched by entity key.
    request: the fields of a request and their types.
    at: the name under which expressions see the time of the prediction.
    expressions: full feature name → expression, each after those it uses.
    names: every feature's full name, in the order of the matrix.
    defaults: full feature name → what stands where its expression fails on a row; null where there is none.
    """

    views: tuple[FeatureView, ...]
    request: Mapping[str, FieldType]
    at: str
    expressions: Mapping[str, pl.Expr]
    names: tuple[str, ...]
    defaults: Mapping[str, Plain] = field(factory=dict)

    def to_json(self) -> str:
        """Return the plan as JSON text. Raises UnsafeExpression when an expression holds Python code."""
        plan: dict[str, object] = {
            "views": [view_to_plain(view) for view in self.views],
            "request": {name: kind.__name__ for name, kind in self.request.items()},
            "at": self.at,
            "expressions": {name: expression_to_json(expression) for name, expression in self.expressions.items()},
            "names": self.names,
        }
        if self.defaults:  # plans without are written as they were before there were any: equal ones stay equal
            plan["defaults"] = self.defaults
        return msgspec.json.encode(plan).decode()

    @classmethod
    def from_json(cls, text: str) -> "FeaturePlan":
        """Return the plan of `to_json`. Raises UnsafeExpression before any code in it could run."""
        plain = msgspec.json.decode(text)
        return cls(
            views=tuple(view_from_plain(view) for view in plain["views"]),
            request={name: _FIELD_TYPES[kind] for name, kind in plain["request"].items()},
            at=plain["at"],
            expressions={name: expression_from_json(tree) for name, tree in plain["expressions"].items()},
            names=tuple(plain["names"]),
            defaults=plain.get("defaults", {}),
        )


def plan_features(model: Model) -> FeaturePlan:
    """Return the plan of a model's features. The definition must have passed `spec.check`."""
    expressions: dict[str, pl.Expr] = {}
    defaults: dict[str, Plain] = {}
    for group in model.request_features:
        expressions.update(group.by_full_name())
        defaults.update(group.defaults_by_full_name())
    return FeaturePlan(
        views=model.views,
        request=model.request_fields,
        at=model.label.at,
        expressions=in_order_of_use(expressions),
        names=tuple(name for part in model.features for name in feature_names(part)),
        defaults=defaults,
    )


def feature_names(part: FeatureView | RequestFeatures) -> list[str]:
    """Return the full names of the features of one view or group, in the order declared."""
    if isinstance(part, RequestFeatures):
        return list(part.by_full_name())
    return [f"{part.name}.{name}" for name in (*part.window_features(), *part.latest)]


def in_order_of_use(expressions: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    """Return the expressions so that each comes after those whose names it uses. Raises ValueError on a cycle."""
    ordered: dict[str, pl.Expr] = {}
    waiting = {name: _used_names(expression) & expressions.keys() for name, expression in expressions.items()}
    while waiting:
        ready = [name for name, needs in waiting.items() if needs <= ordered.keys()]
        if not ready:
            raise ValueError(f"expected request features that do not use each other in a circle, got {sorted(waiting)}")
        for name in ready:
            ordered[name] = expressions[name]
            del waiting[name]
    return ordered


def _used_names(expression: pl.Expr) -> set[str]:
    return set(expression.meta.root_names())


def view_to_plain(view: FeatureView) -> dict[str, Any]:
    """Return a view as plain values for JSON. Raises UnsafeExpression when a filter holds Python code."""
    plain = asdict(view, value_serializer=plain_value)
    plain["source"]["fields"] = {name: kind.__name__ for name, kind in view.source.fields.items()}
    plain["source"]["data"] = None  # where history lies is the project's business, not the bundle's
    if view.source.lag is None:
        del plain["source"]["lag"]  # as bundles of before have it
    del plain["source"]["contract"]  # so is what its batches must keep: it changes no feature
    del plain["source"]["owner"]  # nor does who is paged
    return plain


def view_from_plain(plain: dict[str, Any]) -> FeatureView:
    """Return the view of `view_to_plain`. Raises UnsafeExpression before any code in it could run."""
    source = {**plain["source"], "fields": {n: _FIELD_TYPES[kind] for n, kind in plain["source"]["fields"].items()}}
    return FeatureView(
        plain["name"],
        Entity(**plain["entity"]),
        Source(**source),
        windows=[_declared_from_plain(declared) for declared in plain["windows"]],
        latest=plain["latest"],
        max_age=plain["max_age"],
    )


def _declared_from_plain(plain: dict[str, Any]) -> Aggregate | Ratio:
    if "numerator" in plain:
        numerator, denominator = (_aggregate_from_plain(plain[side]) for side in ("numerator", "denominator"))
        return Ratio(numerator, denominator, plain["given_name"])
    return _aggregate_from_plain(plain)


def _aggregate_from_plain(plain: dict[str, Any]) -> Aggregate:
    where = plain["measure"]["where"]
    measure = Measure(**{**plain["measure"], "where": None if where is None else expression_from_json(where)})
    return Aggregate(**{**plain, "measure": measure, "over": tuple(plain["over"])})
