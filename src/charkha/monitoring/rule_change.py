"""What a change of rules comes to: how two sets differ, and what would have been decided otherwise."""

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.manifest import RuleSpec
from charkha.monitoring.collect import predictions_table
from charkha.monitoring.parts import current, parse_part
from charkha.serving.prediction_frames import PREDICTION_SCHEMA, as_asked, with_features
from charkha.storage.home import Home

# A change is tried on so many predictions, the last ones.
LAST_ROWS = 20_000


@frozen(kw_only=True)
class RuleDifference:
    """How one set of rules differs from another, by name. changed: of the same name, and otherwise in any word.

    moved: whether the rules that are in both come in another order, by which the first that holds decides.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    moved: bool


@frozen(kw_only=True)
class Redecided:
    """What rules in place of others would have made of the last predictions of a version.

    predictions: those that were decided anew. unlike: predictions left out, since on what was logged of them the old
    rules do not hold as they did when they were served. to_yes, to_no: decisions that would have been otherwise;
    decisions that were none count as no. hits: of each new rule, on how many it would have held. ids: of some
    predictions that would have been decided otherwise, the newest first.
    """

    predictions: int
    unlike: int
    to_yes: int
    to_no: int
    hits: dict[str, int]
    ids: tuple[str, ...]


def difference(old: Sequence[RuleSpec], new: Sequence[RuleSpec]) -> RuleDifference:
    """Return how new rules differ from old ones."""
    before, after = {rule.name: rule for rule in old}, {rule.name: rule for rule in new}
    return RuleDifference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in after if name in before and not _same(before[name], after[name])),
        moved=[name for name in before if name in after] != [name for name in after if name in before],
    )


def _same(one: RuleSpec, other: RuleSpec) -> bool:
    """Say whether rules are the same: Polars may write one expression's JSON with other spaces."""
    plain = [
        {**msgspec.structs.asdict(rule), "when_json": msgspec.json.decode(rule.when_json)} for rule in (one, other)
    ]
    return plain[0] == plain[1]


def last_predictions(home: Home, model: str, version: str, most: int = LAST_ROWS) -> pl.DataFrame:
    """Return the last predictions of a version whose features were logged, as far as `collect` has come, oldest first.

    Columns as of `decode_predictions`. What a fallback answered in its place is left out.
    """
    table = predictions_table(model)
    frames, rows, day = [pl.DataFrame(schema=PREDICTION_SCHEMA)], 0, ""
    for part in reversed(current(map(parse_part, home.tables.parts(table)))):
        if rows >= most and part.day != day:
            break
        read = with_features(home.tables.read(table, part.name))
        frames.append(read.filter((pl.col("version") == version) & (pl.col("role") != "fallback")))
        rows, day = rows + frames[-1].height, part.day
    return pl.concat(frames, how="diagonal_relaxed").sort("_at_us", maintain_order=True).tail(most)


def redecided(old: Bundle, new: Bundle, types: dict[str, pl.DataType], rows: pl.DataFrame) -> Redecided:
    """Return what the rules of `new` would have made of predictions that `old` scored: they share all but the rules.

    types: of the columns that rules may read. rows: as of `last_predictions`.
    """
    if rows.is_empty():
        return Redecided(predictions=0, unlike=0, to_yes=0, to_no=0, hits=dict.fromkeys(_names(new), 0), ids=())
    # The log keeps numbers as floats; rules were declared for what they were.
    kept = {name: pl.col(name).cast(kind, strict=False) for name, kind in types.items() if name in rows.columns}
    asked = as_asked(old.plan, rows.with_columns(**kept))
    scores = rows["score"].fill_null(float("nan")).to_numpy()
    _, held = old.decide(scores, asked)
    logged = rows["rules"].to_list()
    alike = np.array(
        [sorted(now) == sorted(then or ()) for now, then in zip(held, logged, strict=True)], dtype=np.bool_
    )
    decided, would_hold = new.decide(scores, asked)
    was = rows["decision"].fill_null(value=False).to_numpy()
    would = np.zeros(rows.height, np.bool_) if decided is None else decided
    other = alike & (would != was)
    return Redecided(
        predictions=int(alike.sum()),
        unlike=int((~alike).sum()),
        to_yes=int((other & would).sum()),
        to_no=int((other & ~would).sum()),
        hits={
            name: sum(name in names for names, row in zip(would_hold, alike, strict=True) if row)
            for name in _names(new)
        },
        ids=tuple(rows["id"].filter(pl.Series(other)).reverse().head(5)),
    )


def _names(bundle: Bundle) -> list[str]:
    return [rule.name for rule in bundle.rules.declared]
