"""The proof of no skew: what was served, recomputed offline at each prediction's own time, and compared.

Feature by feature, with the first prediction that differs and, where the evidence can tell, why and who is to blame.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from attrs import field, frozen

from charkha.bundles.store import BundleStore
from charkha.clock import to_iso
from charkha.engines.engine import Engine
from charkha.features.keys import key_column
from charkha.features.plan import FeaturePlan
from charkha.features.seen import features_as_seen, seen_until
from charkha.features.sought import SoughtRows, Wanted
from charkha.features.state import columns_of
from charkha.monitoring.performance import Span
from charkha.monitoring.served import OnProgress, sample_of, served_by_log
from charkha.monitoring.skew import compare, exact_features
from charkha.monitoring.skew_cases import plain
from charkha.monitoring.skew_explain import Explainer, view_of
from charkha.monitoring.skew_magnitude import Answers
from charkha.monitoring.skew_tally import First, FirstDifference, Tally, Verification
from charkha.serving.prediction_frames import REQUEST_PREFIX, with_features
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.home import Home


class CannotRecompute(Exception):
    """A version whose features cannot be computed from the sources as they are declared now."""


def verify_log(recomputer: "Recomputer", span: Span, sample: int | None, on_progress: OnProgress) -> Verification:
    """Verify what the log holds of a span, all of it or a sample of so many predictions; always the same sample.

    What is served after this call has begun is left out. Raises what `Recomputer.verify` raises, UnreadablePredictions
    and LogCorrupt.
    """
    model, bundles, home = recomputer.model.name, recomputer.bundles, recomputer.home
    frames = served_by_log(home, model, bundles, span, on_progress)
    if sample is None:
        return recomputer.verify(frames)
    drawn = sample_of(frames, sample)
    return recomputer.verify([] if drawn is None else [drawn])


@frozen(eq=False)
class Recomputer:
    """What served features are recomputed with. sources: those declared now, by name. root: the project's folder.

    spool: a folder for files, needed as long as this is used.
    """

    model: Model
    root: Path
    sources: Mapping[str, Source]
    home: Home
    bundles: BundleStore
    engine: Engine
    spool: Path
    _sought: dict[str, SoughtRows] = field(factory=dict, init=False)

    @classmethod
    @contextmanager
    def opened(cls, project: Project, model: Model, home: Home, engine: Engine) -> "Iterator[Recomputer]":
        """Yield the recomputer of one of a project's models."""
        with TemporaryDirectory(prefix="charkha-rows-") as folder:
            yield cls(model, project.root, project.sources, home, BundleStore(home.bundles), engine, Path(folder))

    def verify(self, frames: Iterable[pl.DataFrame]) -> Verification:
        """Recompute served predictions piece by piece, and compare; a piece and the rows of its keys are in memory.

        frames: as of `decode_predictions`; nothing in them may have been served after this call, for rows that come
        later are not read. What the fallback answered is left out, and what was logged without its features. Raises
        DataError, UnknownBundle and CannotRecompute.
        """
        tally = Tally()
        for frame in (with_features(each).filter(pl.col("role") != "fallback") for each in frames):
            for versions in self._versions_by_plan(frame["version"].unique(maintain_order=True).to_list()):
                self._compare(tally, frame.filter(pl.col("version").is_in(versions)), versions[0])
        explainer = Explainer(self.model, self.bundles, self.home.online, self._rows)
        features = [
            counts.result(name, self._explained(name, counts.first, explainer) if counts.first else None)
            for name, counts in tally.in_order()
        ]
        return tally.report(self.model.name, features)

    def recompute(self, served: pl.DataFrame) -> pl.DataFrame:
        """Return `id`, `version` and the features of served predictions as the sources give them now, in any order.

        served: as of `decode_predictions`, with the features logged and without what the fallback answered. Raises what
        `verify` raises.
        """
        frames = [pl.DataFrame(schema={"id": pl.String(), "version": pl.String()})]
        for versions in self._versions_by_plan(served["version"].unique(maintain_order=True).to_list()):
            frame = served.filter(pl.col("version").is_in(versions))
            plan = self.bundles.read(self.model.name, versions[0]).plan
            asked = _requests(plan, frame)
            features = features_as_seen(plan, asked, self._rows_asked(plan, asked), self.engine)
            frames.append(frame.select("id", "version").hstack(features))
        return pl.concat(frames, how="diagonal_relaxed")

    def _compare(self, tally: Tally, served: pl.DataFrame, version: str) -> None:
        plan = self.bundles.read(self.model.name, version).plan
        asked = _requests(plan, served)
        rows = self._rows_asked(plan, asked)
        recomputed = features_as_seen(plan, asked, rows, self.engine)
        logged = served.select(name for name in plan.names if name in served.columns)
        found = compare(plan, Answers(asked, logged, recomputed), rows, self.engine)
        tally.add(served.with_columns(_until_us=seen_until(served)), recomputed, found, exact_features(plan))

    def _rows_asked(self, plan: FeaturePlan, asked: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return, of each source, the rows of the keys that are asked for: a sample needs few of them."""
        wanted: dict[str, list[Wanted]] = {}
        for view in plan.views:
            keys = view.entity.keys
            wanted.setdefault(view.source.name, []).append((keys, key_column(asked, keys).unique().drop_nulls()))
        return {view.source.name: self._rows(view).of_keys(wanted[view.source.name]) for view in plan.views}

    def _rows(self, view: FeatureView) -> SoughtRows:
        source = self._source(view)
        if source.name not in self._sought:
            spool = self.spool / source.name
            self._sought[source.name] = SoughtRows.of(source, self.root, self.home.log, spool)
        return self._sought[source.name]

    def _source(self, view: FeatureView) -> Source:
        """Return a view's source as it is declared now; of one that is no longer, pushed rows are all there is."""
        source = self.sources.get(view.source.name, view.source)
        missing = sorted(columns_of(view) - source.fields.keys())
        if missing:
            raise CannotRecompute(
                f"view {view.name!r}: expected the fields {missing} of source {source.name!r}, which the version was "
                "trained with; they are declared no longer. Verify with the definition that served"
            )
        return source

    def _versions_by_plan(self, versions: Sequence[str]) -> list[list[str]]:
        by_plan: dict[str, list[str]] = {}
        for version in versions:
            by_plan.setdefault(self.bundles.manifest(self.model.name, version).plan_json, []).append(version)
        return list(by_plan.values())

    def _explained(self, name: str, first: First, explainer: Explainer) -> FirstDifference:
        row = first.served
        plan = self.bundles.read(self.model.name, row["version"]).plan
        view = view_of(plan, name)
        keys = {field: row.get(REQUEST_PREFIX + field) for field in (view.entity.keys if view else plan.request)}
        return FirstDifference(
            id=row["id"],
            time=to_iso(row["_at_us"]),
            version=row["version"],
            role=row["role"],
            keys=keys,
            served=row[name],
            recomputed=plain(first.recomputed[name]),
            cause=explainer.cause(name, first),
        )


def _requests(plan: FeaturePlan, served: pl.DataFrame) -> pl.DataFrame:
    """Return the questions that were served; fields that a request had not are null."""
    types = {name: REQUEST_PREFIX + name for name in plan.request}
    fields = [pl.col(column) if column in served.columns else pl.lit(None) for column in types.values()]
    named = [expression.alias(name) for name, expression in zip(types, fields, strict=True)]
    return served.select(*named, "_at_us", "_seen_us")
