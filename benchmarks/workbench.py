"""What the steps of the benchmark share: the flights example in a folder of its own, a trained version, fresh homes."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import polars as pl
from attrs import define, evolve, frozen

from charkha.bundles.manifest import Manifest, RuntimeChoice
from charkha.bundles.store import BundleStore
from charkha.cli.demo import FROM
from charkha.clock import Clock, parse_time
from charkha.features.reading import opened_readings
from charkha.features.rows import read_rows
from charkha.features.spine import label_spine
from charkha.governance.card import model_card
from charkha.operations.deploy import promote
from charkha.operations.timetable import Timetable, timetable
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import VersionRow
from charkha.training.dataset import Dataset, sources_of
from charkha.training.describe import Birth, describe
from charkha.training.examine import Examined, examine
from charkha.training.fit import Fitted, fit_model
from charkha.training.pipeline import SEED, Order, dataset_and_parts, runtime_of
from charkha.training.split import Parts

FROM_US = parse_time(FROM)
HISTORY_DAYS = 14


@frozen(eq=False)
class Trained:
    """The first champion of the demo, piece by piece as its training made them."""

    dataset: Dataset
    parts: Parts
    fitted: Fitted
    examined: Examined
    runtime: RuntimeChoice


@define(slots=False, eq=False)
class Workbench:
    """A temporary folder to work in, and what was made in it so far. repository: that of the benchmark itself."""

    folder: Path
    repository: Path

    @cached_property
    def project(self) -> Project:
        """The flights example, copied without what was run in it, its data prepared anew."""
        root = self.folder / "flights"
        left_out = shutil.ignore_patterns(".charkha", "data", "__pycache__")
        shutil.copytree(self.repository / "examples" / "flights", root, ignore=left_out)
        subprocess.run([sys.executable, "prepare.py"], cwd=root, check=True, stdout=subprocess.DEVNULL)
        return load_project(root)

    @cached_property
    def model(self) -> Model:
        """The example's model."""
        (model,) = self.project.models.values()
        return model

    @cached_property
    def rows(self) -> Mapping[str, pl.DataFrame]:
        """Source → all its rows."""
        return {name: read_rows(source, self.project.root) for name, source in self.project.sources.items()}

    @cached_property
    def history(self) -> Timetable:
        """What happened in the two weeks after the first champion was trained."""
        label, until_us = self.model.label, FROM_US + HISTORY_DAYS * DAY_US
        spine = label_spine(label, self.model.request, self.rows[label.source.name])
        return timetable(self.project.sources, self.rows, spine, FROM_US, until_us)

    @cached_property
    def order(self) -> Order:
        """The training of the first champion."""
        return Order(self.model, self.project.root, FROM_US, "benchmark")

    @cached_property
    def trained(self) -> Trained:
        """The first champion, trained once for all steps."""
        dataset, parts = self.dataset()
        fitted = fit_model(self.model, dataset.features, dataset.labels, parts, SEED)
        examined = examine(self.model, dataset, parts, fitted, None)
        return Trained(dataset, parts, fitted, examined, runtime_of(self.model, dataset, parts, fitted))

    def dataset(self) -> tuple[Dataset, Parts]:
        """Build the dataset of the first champion from the files, and split it."""
        with opened_readings(sources_of(self.model, self.project.root, None), self.model.views) as readings:
            return dataset_and_parts(self.order, readings)

    def at(self, name: str) -> Project:
        """Return the project with a home of its own."""
        return evolve(self.project, home=self.folder / "homes" / name)

    def home(self, name: str) -> Home:
        """Open such a home."""
        return open_home(self.at(name).home)

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of the first champion under the name of a version."""
        trained = self.trained
        birth = Birth(version=version, created_us=FROM_US, seed=SEED)
        made_of = (trained.dataset, trained.parts, trained.fitted)
        return describe(self.model, birth, *made_of, examined=trained.examined, runtime=trained.runtime)

    def deploy(self, home: Home, clock: Clock, versions: int = 1) -> None:
        """Record the first champion as so many accepted versions, and promote "v1"."""
        for number in range(1, versions + 1):
            self._record(home, self.manifest(f"v{number}"))
        promote(home, clock, self.model.name, "v1", actor="benchmark", reason="to have one that answers", force=True)

    def _record(self, home: Home, manifest: Manifest) -> None:
        digest = BundleStore(home.bundles).write(manifest, self.trained.fitted.state, model_card(manifest))
        row = VersionRow(
            model=manifest.model,
            version=manifest.version,
            created_us=manifest.created_us,
            digest=digest,
            fingerprint=manifest.lineage.fingerprint,
            run_key=f"benchmark/{manifest.version}",
            tracking={},
            status="accepted",
        )
        home.ledger.next_version(manifest.model, row.run_key)
        home.ledger.record_version(row)
