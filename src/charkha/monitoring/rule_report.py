"""What the rules of a version did: how often they held, where they and the model agree, and what each caught alone."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.bundles.manifest import Manifest
from charkha.bundles.rules import BoolArray, LoadedRule
from charkha.spec.model import Costs
from charkha.training.threshold import total_cost


@frozen(kw_only=True)
class RuleLine:
    """One rule on the predictions of a version.

    hits: rows on which it held; share: of all rows. same, otherwise: hits that the model alone would have decided as
    the rule does, and otherwise. labels: hits whose label is known and has matured. right: those whose truth is what
    the rule decides, of a rule that decides True the positives it caught; precision: their share. right_alone: those
    that neither the model nor another rule would have decided so; wrong_alone: those that only this rule gets wrong, of
    one that decides True its own false alarms. Rules in shadow count not as others. None where nothing is decided by
    a score, or there are no labels to say.
    """

    name: str
    decides: bool
    shadow: bool
    by_score: bool
    hits: int
    share: float
    labels: int
    same: int | None = None
    otherwise: int | None = None
    right: int | None = None
    precision: float | None = None
    right_alone: int | None = None
    wrong_alone: int | None = None


@frozen(kw_only=True)
class DeciderLine:
    """What somebody decides, or would have: True on `yes` rows; the rest is of rows with a matured label.

    caught, missed: positives; cost: of all decisions by the version's costs, None without any.
    """

    who: str
    yes: int
    caught: int
    missed: int
    false_alarms: int
    precision: float | None
    recall: float | None
    cost: float | None


@frozen(kw_only=True)
class RuleReport:
    """The rules of a version, in the order declared, and who would have decided what: none of a regression."""

    model: str
    version: str
    predictions: int
    labels: int
    rules: tuple[RuleLine, ...]
    deciders: tuple[DeciderLine, ...]


def rule_report(manifest: Manifest, outcomes: pl.DataFrame, matured_us: int) -> RuleReport:
    """Return what the rules of a version did, given what was predicted and what became true of it.

    outcomes: as `monitoring.outcomes` returns them, with the column `rules`; of other versions as well. matured_us:
    labels of predictions from then on do not count yet.
    """
    rows = outcomes.filter(pl.col("version") == manifest.version)
    rules, seen = [LoadedRule.of(spec) for spec in manifest.rules], _seen(manifest, rows, matured_us)
    return RuleReport(
        model=manifest.model,
        version=manifest.version,
        predictions=rows.height,
        labels=int(seen.known.sum()),
        rules=tuple(_line(rule, rules, seen) for rule in rules),
        deciders=tuple(_deciders(rules, seen, manifest)),
    )


@frozen(eq=False)
class _Seen:
    """Bool (rows,) each. hits: by rule. by_score: what the model alone decides; None where it decides nothing. decided:
    what was decided. known, truth: whether there is a matured label, and what it says.
    """

    hits: Mapping[str, BoolArray]
    by_score: BoolArray | None
    decided: BoolArray
    known: BoolArray
    truth: BoolArray


def _seen(manifest: Manifest, rows: pl.DataFrame, matured_us: int) -> _Seen:
    labels = rows.select(pl.when(pl.col("_at_us") < matured_us).then(pl.col("_label")).cast(pl.Float64)).to_series()
    held, threshold = rows["rules"], manifest.threshold
    return _Seen(
        hits={rule.name: held.list.contains(rule.name).fill_null(value=False).to_numpy() for rule in manifest.rules},
        by_score=None if threshold is None else rows["score"].fill_null(float("nan")).to_numpy() >= threshold,
        decided=rows["decision"].cast(pl.Boolean).fill_null(value=False).to_numpy(),
        known=labels.is_not_null().to_numpy(),
        truth=labels.fill_null(0.0).to_numpy() > 0.5,
    )


def _line(rule: LoadedRule, rules: Sequence[LoadedRule], seen: _Seen) -> RuleLine:
    held, agrees = seen.hits[rule.name], seen.truth == rule.decide
    line = RuleLine(
        name=rule.name,
        decides=rule.decide,
        shadow=rule.shadow,
        by_score=rule.by_score,
        hits=int(held.sum()),
        share=_share(int(held.sum()), len(held)) or 0.0,
        labels=int((held & seen.known).sum()),
    )
    if seen.by_score is None:
        return line
    same = seen.by_score == rule.decide
    alone = held & ~same
    for other in rules:
        if other is not rule and not other.shadow and other.decide == rule.decide:
            alone = alone & ~seen.hits[other.name]
    right = int((held & seen.known & agrees).sum())
    return evolve(
        line,
        same=int((held & same).sum()),
        otherwise=int((held & ~same).sum()),
        right=right,
        precision=_share(right, line.labels),
        right_alone=int((alone & seen.known & agrees).sum()),
        wrong_alone=int((alone & seen.known & ~agrees).sum()),
    )


def _deciders(rules: Sequence[LoadedRule], seen: _Seen, manifest: Manifest) -> Iterator[DeciderLine]:
    """Yield the model alone, the rules alone, both as it was decided, and with the rules in shadow if there are any."""
    if seen.by_score is None:
        return
    nobody = np.zeros(len(seen.known), np.bool_)
    alone = [rule for rule in rules if not rule.shadow and not rule.by_score]
    yield _decider("the model alone", seen.by_score, seen, manifest)
    if rules:
        yield _decider("the rules alone", _by_first(alone, seen.hits, nobody), seen, manifest)
        yield _decider("both, as decided", seen.decided, seen, manifest)
    if any(rule.shadow for rule in rules):
        yield _decider("with rules in shadow", _by_first(rules, seen.hits, seen.by_score), seen, manifest)


def _by_first(rules: Sequence[LoadedRule], hits: Mapping[str, BoolArray], otherwise: BoolArray) -> BoolArray:
    """Return what the first rule that holds decides, bool (rows,)."""
    decisions = otherwise.copy()
    for rule in reversed(rules):
        decisions[hits[rule.name]] = rule.decide
    return decisions


def _decider(who: str, decisions: BoolArray, seen: _Seen, manifest: Manifest) -> DeciderLine:
    decided, truth = decisions[seen.known], seen.truth[seen.known]
    caught, missed = int((decided & truth).sum()), int((~decided & truth).sum())
    cost = None
    if manifest.costs and len(truth):
        cost = total_cost(truth.astype(np.float64), decided, Costs(**manifest.costs))
    return DeciderLine(
        who=who,
        yes=int(decisions.sum()),
        caught=caught,
        missed=missed,
        false_alarms=int((decided & ~truth).sum()),
        precision=_share(caught, int(decided.sum())),
        recall=_share(caught, caught + missed),
        cost=cost,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
