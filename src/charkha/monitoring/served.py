"""What was served, a bounded piece at a time: from the log for a proof, from the tables for a sample."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import polars as pl

from charkha.bundles.store import BundleStore
from charkha.monitoring.collect import predictions_table
from charkha.monitoring.logged import Step, logged_steps
from charkha.monitoring.parts import current, day_of, parse_part
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import PREDICTION_SCHEMA, with_features
from charkha.serving.prediction_log import prediction_stream
from charkha.storage.home import Home

OnProgress = Callable[[int, int], None]

# Of so many parts of a table, spread evenly over the time, a sample is taken.
MOST_PARTS = 16


def served_by_log(
    home: Home, model: str, bundles: BundleStore, span: Span, on_progress: OnProgress
) -> Iterator[pl.DataFrame]:
    """Return the predictions from `span.since_us` until `span.until_us`, in pieces, as of `decode_predictions`.

    The log, compact or not, is read up to its end as of this call. on_progress: called with the bytes of the log done
    and in all. The iterator raises UnreadablePredictions, UnknownBundle and LogCorrupt.
    """
    total = sum(home.log.end(prediction_stream(model)).values())
    return _pieces(logged_steps(home, model, bundles, span=span), total, on_progress)


def _pieces(steps: Iterable[Step], total: int, on_progress: OnProgress) -> Iterator[pl.DataFrame]:
    done = 0
    for step in steps:
        on_progress(done, total)
        done += step.end - step.start
        if step.rows.height:
            yield step.rows


def served_by_tables(home: Home, model: str, span: Span, version: str) -> Iterator[pl.DataFrame]:
    """Yield what a version scored in a span, as far as `collect` has come, from at most `MOST_PARTS` parts of it."""
    if span.until_us <= span.since_us:
        return
    table, first, last = predictions_table(model), day_of(span.since_us), day_of(span.until_us - 1)
    parts = current(parse_part(name) for name in home.tables.parts(table) if first <= name[:10] <= last)
    step = max(1, -(-len(parts) // MOST_PARTS))
    of_span = pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left") & (pl.col("version") == version)
    for part in parts[::step]:
        frame = home.tables.read(table, part.name)
        if "_seen_us" not in frame.columns:  # written before it was logged
            frame = frame.with_columns(_seen_us=pl.lit(None, PREDICTION_SCHEMA["_seen_us"]))
        yield frame.filter(of_span)


def sample_of(frames: Iterable[pl.DataFrame], most: int) -> pl.DataFrame | None:
    """Return at most `most` predictions, always the same of the same ones; None when there is none.

    Only those whose features were logged are drawn. Every version that scored a prediction of the sample is in it. No
    more than a piece and the sample is in memory.
    """
    kept: pl.DataFrame | None = None
    for frame in map(with_features, frames):
        placed = frame.with_columns(_draw=pl.Series(map(_draw, frame["id"]), dtype=pl.Int64))
        both = placed if kept is None else pl.concat([kept, placed], how="diagonal_relaxed")
        drawn = both.select("_draw", "id").unique().sort("_draw", "id").head(most)["id"]
        kept = both.filter(pl.col("id").is_in(drawn.implode()))
    return None if kept is None or kept.is_empty() else kept.drop("_draw")


def _draw(prediction_id: str) -> int:
    """Return a number that looks drawn by lot and is the same every time; ids of one batch follow each other."""
    return int.from_bytes(hashlib.blake2b(prediction_id.encode(), digest_size=7).digest(), "big")
