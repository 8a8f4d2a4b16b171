"""Checks of a model as a whole: its parts, and how they fit together."""

from collections.abc import Iterator, Mapping
from typing import cast

import polars as pl

from charkha.spec.checks import labels, policies
from charkha.spec.checks.business import business_faults
from charkha.spec.checks.expressions import expression_faults
from charkha.spec.checks.log import log_faults
from charkha.spec.checks.prices import price_faults, training_price_faults
from charkha.spec.checks.request_features import default_faults, group_faults, request_feature_faults
from charkha.spec.checks.rollout import rollout_faults
from charkha.spec.checks.sources import known_fields
from charkha.spec.checks.values import listing, name_faults, quote, repeated, strings, text_faults, type_name, way_to
from charkha.spec.checks.views import feature_names, feature_types
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, TIME, FieldType
from charkha.spec.model import METRICS, ContinualEstimator, Estimator, Model
from charkha.spec.policies import Retrain
from charkha.spec.rules import SCORE, Rule
from charkha.spec.sources import Entity, Source
from charkha.spec.views import FeatureView, RequestFeatures

# A prediction's table holds the request's fields as `request.<field>` and the ages of views as `age.<view>`: a view of
# such a name would collide.
RESERVED_PARTS = ("request", "age")


def model_faults(model: Model) -> Iterator[Fault]:
    """Yield what is wrong with a model, given that its sources and views are checked on their own."""
    where = f"model {model.name!r}"
    yield from name_faults(where, model.name)
    yield from text_faults(f"{where}, purpose", model.purpose, "what its predictions are used for")
    yield from text_faults(f"{where}, owner", model.owner, "which team answers for it")
    yield from labels.label_faults(where, model)
    yield from _parts_faults(where, model)
    if labels.is_usable(model.label):
        yield from labels.request_faults(where, model)
        yield from _views_in_model_faults(where, model)
        yield from _expressions_faults(where, model)
        yield from _slice_faults(where, model)
        yield from _stick_faults(where, model)
    yield from _policy_faults(where, model)
    yield from _reason_faults(where, model)


def _reason_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield faults of the texts of reasons: of what the model has not, or that are none."""
    inner = f"{where}, reasons"
    if not isinstance(model.reasons, Mapping):
        yield Fault(inner, "a dict of feature names and texts", quote(model.reasons), 'Write reasons={"card": "…"}.')
        return
    groups = strings([*(view.name for view in model.views), *(group.name for group in model.request_features)])
    features = [name for view in model.views for name in feature_names(view)]
    features += [f"{group.name}.{name}" for group in model.request_features for name in group.expressions]
    for name, text in model.reasons.items():
        if name not in (*groups, *features):
            yield Fault(inner, "a feature of the model", quote(name), way_to(name, [*groups, *features], "It has"))
        yield from text_faults(f"{inner}[{name!r}]", text, "what is said where it moved a score")


def _policy_faults(where: str, model: Model) -> Iterator[Fault]:
    source_names = strings(source.name for source in _sources(model))
    yield from policies.split_faults(where, model.split)
    yield from policies.retrain_faults(where, model.retrain)
    yield from policies.autonomy_faults(where, model.autonomy)
    yield from policies.monitor_faults(where, model.monitors, source_names)
    yield from policies.budget_faults(where, model.budget)
    yield from price_faults(where, model)
    yield from training_price_faults(where, model)
    yield from log_faults(where, model)
    yield from business_faults(where, model.business)
    if not policies.is_task(model.task):
        remedy = way_to(model.task, METRICS, "Tasks")
        yield Fault(f"{where}, task", f"one of {listing(METRICS)}", quote(model.task), remedy)
        return
    yield from _estimator_faults(f"{where}, estimator", model)
    yield from policies.metrics_faults(where, model)
    yield from policies.gate_faults(where, model)
    yield from policies.decision_faults(where, model)
    yield from policies.fallback_faults(where, model, source_names)
    yield from rollout_faults(where, model.rollout, model.task, model.business)


def _sources(model: Model) -> list[Source]:
    candidates = [*(view.source for view in model.views), getattr(model.label, "source", None)]
    return [source for source in candidates if isinstance(source, Source)]


def _parts_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield faults of the list of features: what is in it, and names that come twice."""
    inner = f"{where}, features"
    if not model.features:
        remedy = "Give features=[…] with at least one ck.FeatureView or ck.RequestFeatures."
        yield Fault(inner, "at least one view or group of request features", "none", remedy)
    for part in model.features:
        if not isinstance(part, FeatureView | RequestFeatures):
            yield Fault(inner, "a ck.FeatureView or ck.RequestFeatures", quote(part), "Pass the object itself.")
    for group in model.request_features:
        yield from group_faults(where, group)
    names = strings([*(view.name for view in model.views), *(group.name for group in model.request_features)])
    for name in repeated(names):
        remedy = "Give each view and each group of request features its own name."
        yield Fault(inner, "each view or group once", f"two named {name!r}", remedy)
    for name in set(RESERVED_PARTS) & set(names):
        yield Fault(inner, "a name that is not reserved", quote(name), "Rename the view or group.")
    for view in model.views:
        for name in repeated(feature_names(view)):
            yield Fault(inner, "each feature name once", f"two features {name!r}", "Leave one of them out.")


def _views_in_model_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield faults of views that only show beside the model's request and label."""
    for view in model.views:
        inner = f"{where}, view {view.name!r}"
        if not isinstance(view.source, Source) or not isinstance(view.entity, Entity):
            continue
        for key in view.entity.keys:
            yield from _key_faults(inner, key, view, model)
        yield from labels.leak_faults(where, model.label, view)


def _key_faults(where: str, key: str, view: FeatureView, model: Model) -> Iterator[Fault]:
    if key not in model.request:
        remedy = f"Add {key!r} to request=[…] of the model, as a field of source {model.label.source.name!r}."
        yield Fault(where, f"entity key {key!r} in the request", f"request fields {listing(model.request)}", remedy)
        return
    asked = known_fields(model.label.source).get(key)
    held = known_fields(view.source).get(key)
    if asked is not None and held is not None and asked is not held:
        expected = f"key {key!r} of one type"
        found = f"{type_name(held)} in source {view.source.name!r}, {type_name(asked)} in the request"
        yield Fault(where, expected, found, "Declare it with the same type in both sources.")


def _expressions_faults(where: str, model: Model) -> Iterator[Fault]:
    columns = _columns_for_expressions(model)
    expressions = {name: part for group in model.request_features for name, part in group.by_full_name().items()}
    found, types = request_feature_faults(where, expressions, columns)
    yield from found
    for group in model.request_features:
        yield from default_faults(where, group, types)
    # A rule over a faulty request feature is not blamed for it.
    faulty = expressions.keys() - types.keys()
    yield from _rule_faults(where, model, {**columns, **types}, faulty)


def _columns_for_expressions(model: Model) -> dict[str, pl.DataType]:
    """Return what request features may use: the request's fields, the time of prediction, the views' features."""
    fields = known_fields(model.label.source)
    request = {name: POLARS_TYPES[fields[name]] for name in strings(model.request) if fields.get(name) in POLARS_TYPES}
    features = {name: kind for view in model.views for name, kind in feature_types(view).items()}
    return {**request, str(model.label.at): TIME, **features}


def _rule_faults(where: str, model: Model, columns: dict[str, pl.DataType], faulty: set[str]) -> Iterator[Fault]:
    for rule in cast(tuple[object, ...], model.rules):
        if not isinstance(rule, Rule):
            remedy = 'Write ck.Rule("name", pl.col("x") > 1, decide=True, reason="…").'
            yield Fault(f"{where}, rules", "a ck.Rule", quote(rule), remedy)
            continue
        inner = f"{where}, rule {rule.name!r}"
        yield from name_faults(inner, rule.name)
        if not isinstance(rule.decide, bool):
            yield Fault(f"{inner}, decide", "True or False", quote(rule.decide), "Say what the rule decides.")
        if not isinstance(rule.shadow, bool):
            remedy = "Write shadow=True for a rule that is logged and never decides."
            yield Fault(f"{inner}, shadow", "True or False", quote(rule.shadow), remedy)
        if not _uses(rule, faulty):
            yield from expression_faults(f"{inner}, when", rule.when, {**columns, SCORE: pl.Float64()}, "boolean")
    for name in repeated(rule.name for rule in model.rules if isinstance(rule, Rule)):
        yield Fault(f"{where}, rules", "each rule name once", f"two rules {name!r}", "Rename one of them.")


def _uses(rule: Rule, names: set[str]) -> bool:
    return isinstance(rule.when, pl.Expr) and not names.isdisjoint(rule.when.meta.root_names())


def _slice_faults(where: str, model: Model) -> Iterator[Fault]:
    inner, fields = f"{where}, slices", known_fields(model.label.source)
    sliceable: tuple[FieldType, ...] = (str, int, bool)
    for name in policies.each_once(model.slices):
        if name not in model.request:
            yield Fault(inner, "a request field", quote(name), way_to(name, model.request, "Request fields"))
        elif name in fields and fields[name] in POLARS_TYPES and fields[name] not in sliceable:
            remedy = "Slice by a field whose values repeat."
            yield Fault(
                inner, "a field of type str, int or bool", f"{name!r}, which is {type_name(fields[name])}", remedy
            )
    for name in repeated(model.slices):
        yield Fault(inner, "each slice once", f"{name!r} twice", "Name it once.")


def _stick_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with the entity that versions are assigned by: an unknown one, or not of the request."""
    inner, entity = f"{where}, stick_to", model.stick_to
    known = [view.entity.name for view in model.views if isinstance(view.entity, Entity)]
    if entity is None:
        return
    if not isinstance(entity, Entity):
        if entity not in known:
            remedy = way_to(entity, strings(known), "Entities of its views")
            yield Fault(inner, "an entity of the model's views", quote(entity), remedy)
        return
    for key in entity.keys:
        if key not in model.request:
            yield Fault(
                inner,
                f"entity key {key!r} in the request",
                f"request fields {listing(model.request)}",
                way_to(key, model.request, "Request fields"),
            )


def _estimator_faults(where: str, model: Model) -> Iterator[Fault]:
    estimator: object = model.estimator
    if isinstance(estimator, type) or not _is_estimator(estimator):
        remedy = (
            "Write ck.LightGBM(), ck.XGBoost(), ck.CatBoost(), ck.HistGradientBoosting(), ck.RandomForest(), "
            "ck.Linear() or ck.OnlineLinear(), with the brackets."
        )
        yield Fault(where, "an estimator", quote(estimator), remedy)
    elif model.task not in model.estimator.tasks:
        remedy = f"It can learn {listing(model.estimator.tasks)}: choose another estimator or task."
        yield Fault(where, f"an estimator that can learn {model.task}", quote(model.estimator.kind), remedy)
    elif isinstance(model.retrain, Retrain) and model.retrain.update is not None:
        yield from _update_faults(where, model.estimator)


def _update_faults(where: str, estimator: Estimator) -> Iterator[Fault]:
    if not isinstance(estimator, ContinualEstimator):
        remedy = "ck.OnlineLinear() can; or leave update= out of ck.Retrain, and train anew with every=."
        yield Fault(where, "an estimator that can go on learning, for retrain.update", quote(estimator.kind), remedy)


def _is_estimator(candidate: object) -> bool:
    """Say whether an object has what `Estimator` asks for."""
    wanted = [name for name in vars(Estimator) if not name.startswith("_")]
    return all(hasattr(candidate, name) for name in wanted)
