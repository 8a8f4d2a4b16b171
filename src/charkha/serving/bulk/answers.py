"""Scores, decisions and rules of many rows: a bundle's own, a block of rows at a time, on as many threads as there are.

Features come as of each row's time from the files and the log, or, for the present moment, from the online state as
calls of the server's would.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.encoding import encode, encode_lists
from charkha.clock import Clock
from charkha.engines.engine import Engine
from charkha.features.answers import answered
from charkha.features.evaluate import Failure, logged
from charkha.features.latest import listed
from charkha.features.online import Fetched, fetch, online_columns
from charkha.features.plan import FeaturePlan
from charkha.features.reading import Doing, Readings
from charkha.features.request import Columns
from charkha.serving.bulk.explained import REASON, REASONS, Explain
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray
from charkha.storage.online import OnlineStore

# Rows that the estimator has before it at once; and rows of one call: one snapshot of the state, one moment.
BLOCK, CALL = 1 << 14, 1 << 12

ANSWER = pl.Schema({"time": TIME, "score": pl.Float64(), "decision": pl.Boolean(), "rules": pl.List(pl.String())})


@frozen(eq=False)
class Offline:
    """Answers as of a time: a row's own, or one for all. explain: which reasons are asked for.

    plan: the bundle's, with the conditions of its rules among its features. time: what it is, called once for each
    table of rows. readings: the sources.
    """

    bundle: Bundle
    plan: FeaturePlan
    time: Callable[[], pl.Expr]
    readings: Readings
    engine: Engine
    explain: Explain | None = None

    def answers(self, rows: pl.DataFrame, doing: Doing) -> pl.DataFrame:
        """Return the answers, columns of ANSWER and perhaps REASONS, in the order of the rows. Raises DataError."""
        at, fields = self.plan.at, [name for name in self.plan.request if name != self.plan.at]
        asked = rows.with_columns(self.time().alias(at)).select(*fields, at, pl.col(at).dt.epoch("us").alias("_at_us"))
        features = answered(self.plan, asked, self.readings, doing=doing)
        doing("scoring")
        scores = score_blocks(self.bundle, features, self.engine)
        held = self.bundle.held_in(_with_request(features, asked) if self.bundle.after else features, scores, logged)
        frame = answer_frame(self.bundle, asked[at], scores, held)
        if self.explain is None:
            return frame
        doing("explaining")
        return frame.with_columns(explain_blocks(self.bundle, self.explain, features, self.engine))


@frozen(eq=False)
class Online:
    """Answers as of the moment at which each call's worth of rows is put to the online state.

    explain: which reasons are asked for.
    """

    bundle: Bundle
    plan: FeaturePlan
    online: OnlineStore
    clock: Clock
    engine: Engine
    explain: Explain | None = None

    def answers(self, rows: pl.DataFrame, doing: Doing) -> pl.DataFrame:
        """Return the answers, columns of ANSWER and perhaps REASONS, in the order of the rows."""
        asked = rows.select(*self.plan.request)
        doing("scoring")
        failures: list[Failure] = []

        def answer(call: tuple[Columns, Fetched, int]) -> pl.DataFrame:
            return self._answer(*call, failures.append)

        frames = list(self.engine.map(answer, self._calls(asked)))
        for failure in summed(failures, asked.height):
            logged(failure)
        return pl.concat(frames) if frames else pl.DataFrame(schema=answer_schema(self.explain))

    def _calls(self, asked: pl.DataFrame) -> Iterator[tuple[Columns, Fetched, int]]:
        for rows in asked.iter_slices(CALL) if asked.height else ():
            columns = rows.to_dict(as_series=False)
            with self.online.read() as reader:  # before the time: nothing in it became known after the prediction
                time_us = self.clock.now()
                yield columns, fetch(self.plan, reader, columns), time_us

    def _answer(
        self, asked: Columns, fetched: Fetched, time_us: int, on_failure: Callable[[Failure], None]
    ) -> pl.DataFrame:
        count = len(next(iter(asked.values())))
        features = online_columns(self.plan, asked, fetched, [time_us] * count, on_failure)
        schema = self.bundle.manifest.schema
        matrix = encode_lists(schema, features)
        scores = self.bundle.score_matrix(matrix)
        times = pl.repeat(time_us, count, dtype=pl.Int64, eager=True).cast(TIME)
        frame = answer_frame(self.bundle, times, scores, self.bundle.held(features, scores, on_failure))
        if self.explain is None:
            return frame
        text = [listed(features[schema.columns[place].name]) for place in schema.categorical]
        return frame.with_columns(self.explain.reasons(self.bundle, matrix, text))


def _with_request(features: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return features beside the request's fields, as rules by the score read both."""
    return features.with_columns(asked.select(name for name in asked.columns if name not in features.columns))


def score_blocks(bundle: Bundle, features: pl.DataFrame, engine: Engine) -> FloatArray:
    """Return calibrated scores, float64 (rows,): those of `Bundle.score`, whatever the blocks. Other columns may be."""
    names = list(bundle.manifest.schema.names)
    if features.is_empty():
        return np.empty(0)
    return np.concatenate(list(engine.map(bundle.score, features.select(names).iter_slices(BLOCK))))


def explain_blocks(bundle: Bundle, explain: Explain, features: pl.DataFrame, engine: Engine) -> pl.Series:
    """Return the reasons of each row, whatever the blocks. Other columns may be among the features."""
    schema = bundle.manifest.schema
    text = [schema.columns[place].name for place in schema.categorical]

    def reasons(block: pl.DataFrame) -> pl.Series:
        return explain.reasons(bundle, encode(schema, block), [block[name].to_list() for name in text])

    blocks = features.select(list(schema.names)).iter_slices(BLOCK) if features.height else ()
    return pl.concat([pl.Series(REASONS, [], dtype=pl.List(REASON)), *engine.map(reasons, blocks)])


def answer_schema(explain: Explain | None) -> pl.Schema:
    """Return the columns of answers."""
    return ANSWER if explain is None else pl.Schema({**ANSWER, REASONS: pl.List(REASON)})


def answer_frame(bundle: Bundle, times: pl.Series, scores: FloatArray, held: Sequence[Sequence[bool]]) -> pl.DataFrame:
    """Return answers as a table, columns of ANSWER. held: of each rule's condition whether it holds for each row."""
    decisions, hits = bundle.decide_where(scores, held)
    finite = pl.Series(scores).set(pl.Series(~np.isfinite(scores)), None)
    decided = pl.repeat(None, len(scores), dtype=pl.Boolean, eager=True) if decisions is None else pl.Series(decisions)
    rules = _rules(bundle.in_effect(hits)) if bundle.rules.declared else _no_rules(len(scores))
    columns = (times, finite, decided, rules)
    return pl.DataFrame([column.alias(name) for name, column in zip(ANSWER, columns, strict=True)], schema=ANSWER)


def _rules(hits: Sequence[tuple[str, ...]]) -> pl.Series:
    """Return the names of rules as lists; there are few different ones."""
    different = {names: place for place, names in enumerate(dict.fromkeys(hits))}
    lists = pl.Series([list(names) for names in different], dtype=ANSWER["rules"])
    return lists.gather(pl.Series([different[names] for names in hits], dtype=pl.UInt32))


def _no_rules(height: int) -> pl.Series:
    return pl.Series([[]], dtype=ANSWER["rules"]).new_from_index(0, height)


def summed(failures: Sequence[Failure], rows: int) -> Iterator[Failure]:
    """Yield of each name one failure: that of all calls together."""
    for name, first in {failure.name: failure for failure in reversed(failures)}.items():
        yield Failure(name, sum(each.rows for each in failures if each.name == name), rows, first.reason)
