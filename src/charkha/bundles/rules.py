"""The rules of a version: when each holds, before the model and after it, and what they make of its decisions."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import compress

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.manifest import RuleSpec
from charkha.features.evaluate import OnFailure, with_values
from charkha.features.expressions import expression_from_json
from charkha.features.latest import Column, listed
from charkha.features.plan import FeaturePlan
from charkha.features.request import Columns, Program, computed_columns, program_after
from charkha.spec.model import FloatArray
from charkha.spec.rules import SCORE, reads_score

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@frozen(eq=False)
class LoadedRule:
    """A rule, ready to be evaluated. when: never null. by_score: whether it reads the score."""

    name: str
    when: pl.Expr
    decide: bool
    shadow: bool
    by_score: bool

    @classmethod
    def of(cls, spec: RuleSpec) -> "LoadedRule":
        """Return the rule of a manifest. Raises UnsafeExpression."""
        when = expression_from_json(spec.when_json)
        holds = when.cast(pl.Boolean).fill_null(False)
        return cls(spec.name, holds, spec.decide, spec.shadow, reads_score(when))

    @property
    def condition(self) -> str:
        """Its column in a table of features, under a name that no feature can have."""
        return f"rule {self.name}"


@frozen(eq=False)
class RuleSet:
    """The rules of a version, in the order declared."""

    declared: tuple[LoadedRule, ...]

    @cached_property
    def before(self) -> Mapping[str, pl.Expr]:
        """Of each rule that does not read the score, when it holds."""
        return {rule.condition: rule.when for rule in self.declared if not rule.by_score}

    @cached_property
    def after(self) -> Mapping[str, pl.Expr]:
        """The same of those that do."""
        return {rule.condition: rule.when for rule in self.declared if rule.by_score}

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The names of all conditions, in the order declared."""
        return tuple(rule.condition for rule in self.declared)

    @cached_property
    def never(self) -> Mapping[str, bool]:
        """Of each condition, what stands where it cannot be evaluated."""
        return dict.fromkeys(self.conditions, False)

    @cached_property
    def in_shadow(self) -> frozenset[str]:
        """The names of the rules that decide nothing."""
        return frozenset(rule.name for rule in self.declared if rule.shadow)

    @cached_property
    def decides(self) -> bool:
        """Whether any rule decides."""
        return len(self.in_shadow) < len(self.declared)

    def program(self, plan: FeaturePlan) -> Program:
        """Return what evaluates the rules that read the score, beside the columns of a plan."""
        return program_after(plan, self.after, pl.Schema({SCORE: pl.Float64()}), self.never)

    def applied(
        self, decisions: BoolArray | None, held: Sequence[Sequence[bool]]
    ) -> tuple[BoolArray | None, list[tuple[str, ...]]]:
        """Return decisions with those of the first rule that holds in their place, and the names of all that do.

        decisions: bool (rows,), which are changed; None where only rules in shadow are left to decide. held: of each
        rule whether it holds for each row.
        """
        for rule, holds in zip(reversed(self.declared), reversed(held), strict=True):
            if decisions is not None and not rule.shadow:
                decisions[np.array(holds, dtype=np.bool_)] = rule.decide
        names = [rule.name for rule in self.declared]
        return decisions, [tuple(compress(names, holds)) for holds in zip(*held, strict=True)]


def held_beside(
    rules: RuleSet, program: Program, features: Columns, scores: FloatArray, on_failure: OnFailure
) -> list[Sequence[bool]]:
    """Return of each rule whether it holds for each row of a small batch. program: of those that read the score.

    features: among them the conditions of the other rules.
    """
    inputs: dict[str, Column] = {name: features[name] for name in program.inputs if name != SCORE}
    inputs[SCORE] = finite_scores(scores)
    later = computed_columns(program, inputs, on_failure)
    return [listed(later[name] if name in rules.after else features[name]) for name in rules.conditions]


def held_in_table(
    rules: RuleSet, rows: pl.DataFrame, scores: FloatArray, on_failure: OnFailure
) -> list[Sequence[bool]]:
    """Return the same of a table: the features, the request's fields, and conditions that are known already."""
    missing = [each.alias(name) for name, each in {**rules.before, **rules.after}.items() if name not in rows.columns]
    if rules.after:
        rows = rows.with_columns(pl.Series(SCORE, finite_scores(scores), nan_to_null=True))
    if missing:
        # Not `select`: it would make one row of a rule that looks at no column.
        rows = with_values(rows, missing, rules.never, on_failure)
    return [rows.get_column(name).to_list() for name in rules.conditions]


def finite_scores(scores: FloatArray) -> FloatArray:
    """Return scores as rules see them: NaN, which is null to them, where they are not finite."""
    return np.where(np.isfinite(scores), scores, np.nan)
