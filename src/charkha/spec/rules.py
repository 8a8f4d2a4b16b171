"""Rules of experts: conditions that decide before a score does, or by it."""

import polars as pl
from attrs import field, frozen

# The column under which the conditions of rules see the score. No field and no feature may begin with `_`.
SCORE = "_score"


def score() -> pl.Expr:
    """Return the model's score, for a rule's `when`: the calibrated probability, of a regression the value.

    It is null where it is no finite number, and where the fallback answers in the model's place.
    """
    return pl.col(SCORE)


@frozen(eq=False)
class Rule:
    """An expert's rule over request fields, features and `ck.score()`: where `when` holds, the decision is `decide`.

    Of the rules that hold the first, in the order declared, decides; those that read the score are evaluated once the
    model has answered, the others before. shadow: it is evaluated and logged, and never decides.
    """

    name: str
    when: pl.Expr
    decide: bool = True
    reason: str = ""
    shadow: bool = field(default=False, kw_only=True)

    @property
    def stands_alone(self) -> bool:
        """Whether it would decide if there were no model: it is not in shadow, and does not read the score."""
        return not self.shadow and not reads_score(self.when)


def reads_score(when: pl.Expr) -> bool:
    """Say whether a rule's condition reads the score."""
    return SCORE in when.meta.root_names()
