"""A definition without some of its views: what is trained while what feeds them is at fault."""

from collections.abc import Collection

import polars as pl
from attrs import evolve

from charkha.features.plan import feature_names, plan_features
from charkha.spec.gates import BeatsChampion
from charkha.spec.model import Model
from charkha.spec.views import FeatureView, RequestFeatures


class NothingLeft(ValueError):
    """A model without any feature. `model` and `views` say of which, and without what."""

    def __init__(self, model: str, views: Collection[str]) -> None:
        self.model, self.views = model, tuple(views)
        super().__init__(f"model {model!r}: expected features beside those of {', '.join(views)}, got none")


def without_views(model: Model, views: Collection[str]) -> Model:
    """Return a definition without these views, and without the request features and rules that read them.

    Nor does it have to beat the champion: that one has a feature more, which told something while it was sound. All
    other gates stay. Raises NothingLeft; the definition itself for no views.
    """
    if not views:
        return model
    gone = {name for view in model.views if view.name in views for name in feature_names(view)}
    for name, expression in plan_features(model).expressions.items():  # each after those that it uses
        if _reads(expression, gone):
            gone.add(name)
    features = [kept for part in model.features if (kept := _kept(part, views, gone)) is not None]
    if not features:
        raise NothingLeft(model.name, views)
    return evolve(
        model,
        features=features,
        rules=[rule for rule in model.rules if not _reads(rule.when, gone)],
        gates=[gate for gate in model.gates if not isinstance(gate, BeatsChampion)],
    )


def _kept(
    part: FeatureView | RequestFeatures, views: Collection[str], gone: set[str]
) -> FeatureView | RequestFeatures | None:
    if isinstance(part, FeatureView):
        return None if part.name in views else part
    left = {name: each for name, each in part.expressions.items() if f"{part.name}.{name}" not in gone}
    if not left:
        return None
    return RequestFeatures(part.name, defaults={n: v for n, v in part.defaults.items() if n in left}, **left)


def _reads(expression: pl.Expr, names: Collection[str]) -> bool:
    return any(name in names for name in expression.meta.root_names())
