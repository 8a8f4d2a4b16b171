"""The features of a catalogue: those that the definition has, and those that only a deployed version has left."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl
from attrs import evolve, frozen

from charkha.features.evaluate import Plain
from charkha.features.expressions import expression_to_json
from charkha.features.filters import filter_column
from charkha.features.plan import FeaturePlan, feature_names
from charkha.monitoring.catalogue_entries import FeatureEntry, Nulls
from charkha.monitoring.feature_words import latest_in_words, ratio_in_words, request_in_words, window_in_words
from charkha.spec.project import Project
from charkha.spec.views import FeatureView
from charkha.storage.home import Home


@frozen(eq=False)
class Known:
    """What the project and its home say.

    plans: (model, deployed version) → its plan. kept: digest → the view whose state is kept. newest: source → ISO 8601.
    nulls: model → feature → its shares of nulls.
    """

    project: Project
    home: Home
    plans: Mapping[tuple[str, str], FeaturePlan]
    kept: Mapping[bytes, FeatureView]
    newest: Mapping[str, str]
    nulls: Mapping[str, Mapping[str, Nulls]]


def declared_features(known: Known) -> Iterator[FeatureEntry]:
    """Yield the features that the definition has."""
    models = known.project.models.values()
    for view in (*known.project.views, *known.project.unused_views):
        yield from _of_view(known, view, _readers(known, view))
    groups = {group.name: group for model in models for group in model.request_features}
    for group in groups.values():
        readers = tuple(model.name for model in models if group.name in (g.name for g in model.request_features))
        defaults = group.defaults_by_full_name()
        for name, expression in group.by_full_name().items():
            yield _of_request(known, name, expression, defaults.get(name), readers)


def former_features(known: Known) -> Iterator[FeatureEntry]:
    """Yield the features of deployed versions whose names the definition does not have, each once."""
    passed = {feature.name for feature in declared_features(known)}
    for entry in _deployed(known):
        if entry.name not in passed:
            passed.add(entry.name)
            yield entry


def _deployed(known: Known) -> Iterator[FeatureEntry]:
    for plan in known.plans.values():
        for view in plan.views:
            yield from _of_view(known, view, None)
        for name, expression in plan.expressions.items():
            yield _of_request(known, name, expression, plan.defaults.get(name), None)


def _of_view(known: Known, view: FeatureView, readers: tuple[str, ...] | None) -> Iterator[FeatureEntry]:
    """Yield the features of a view. readers: the models that declare it; None for a view that is declared no more."""
    windows = _windows_in_words(view)
    for name in feature_names(view):
        short = name.removeprefix(f"{view.name}.")
        versions = _versions(known, name)
        yield FeatureEntry(
            name=name,
            kind="window" if short in windows else "latest",
            part=view.name,
            source=view.source.name,
            entity=view.entity.name,
            reads=(),
            models=readers or (),
            versions=versions,
            nulls=_nulls_of(name, tuple(versions) if readers is None else readers, known.nulls),
            says=tuple(windows.get(short) or latest_in_words(view, short)),
            declared=readers is not None,
            otherwise={} if readers is None else _otherwise(known, name, _declared_of_view(view, short)),
        )


def _windows_in_words(view: FeatureView) -> dict[str, list[str]]:
    """Return what each windowed feature of a view is, by its name in the view."""
    windows = {name: window_in_words(view, window, name) for window in view.all_windows() for name in window.names}
    return {**windows, **{ratio.name: ratio_in_words(view, ratio) for ratio in view.ratios()}}


def _of_request(
    known: Known,
    name: str,
    expression: pl.Expr,
    default: Plain | None,
    readers: tuple[str, ...] | None,
) -> FeatureEntry:
    reads, versions = tuple(dict.fromkeys(expression.meta.root_names())), _versions(known, name)
    return FeatureEntry(
        name=name,
        kind="request",
        part=name.partition(".")[0],
        source=None,
        entity=None,
        reads=reads,
        models=readers or (),
        versions=versions,
        nulls=_nulls_of(name, tuple(versions) if readers is None else readers, known.nulls),
        says=tuple(request_in_words(str(expression), reads, default)),
        declared=readers is not None,
        otherwise={} if readers is None else _otherwise(known, name, (expression_to_json(expression), default)),
    )


def _declared_of_view(view: FeatureView, short: str) -> object:
    """Return all that makes a feature of a view what it is: equal for those that are declared alike."""
    source, age = view.source, view.max_age if short in view.latest else None
    sides = {name for ratio in view.ratios() if ratio.name == short for name in ratio.sides} | {short}
    windows = [
        (
            evolve(each, measure=evolve(each.measure, where=None)),
            each.measure.where is not None and filter_column(each.measure.where),
        )
        for each in view.all_windows()
        if sides & set(each.names)
    ]
    return source.name, source.time, source.known, source.lag_us, source.static, view.entity.keys, age, windows


def _otherwise(known: Known, feature: str, declared: object) -> dict[str, dict[str, str]]:
    """Return what a feature is in the deployed versions that have it declared otherwise, in words."""
    found: dict[str, dict[str, str]] = {}
    for (model, version), plan in known.plans.items():
        there = _declared_in(plan, feature)
        if there is not None and there[0] != declared:
            found.setdefault(model, {})[version] = there[1]
    return found


def _declared_in(plan: FeaturePlan, feature: str) -> tuple[object, str] | None:
    """Return what makes a feature what it is in a plan, and what that is in words; None where it has none such."""
    if feature in plan.expressions:
        expression, default = plan.expressions[feature], plan.defaults.get(feature)
        return (expression_to_json(expression), default), str(expression)
    for view in plan.views:
        short = feature.removeprefix(f"{view.name}.")
        if feature in feature_names(view):
            says = _windows_in_words(view).get(short) or latest_in_words(view, short)
            return _declared_of_view(view, short), says[0]
    return None


def _readers(known: Known, view: FeatureView) -> tuple[str, ...]:
    return tuple(name for name, model in known.project.models.items() if any(view == each for each in model.views))


def _nulls_of(feature: str, models: Sequence[str], nulls: Mapping[str, Mapping[str, Nulls]]) -> dict[str, Nulls]:
    return {model: nulls[model][feature] for model in models if feature in nulls[model]}


def _versions(known: Known, feature: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for (model, version), plan in known.plans.items():
        if feature in plan.names:
            found[model] = (*found.get(model, ()), version)
    return found
