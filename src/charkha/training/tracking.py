"""MLflow, the tracker and registry: one run and one registered model version per candidate, aliases for who serves.

Only `MlflowClient` is used: its model-logging functions would guess environments and copy files that a bundle has.
"""

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import SQLAlchemyError

from charkha.bundles.manifest import Estimate, Manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ARTIFACT = "bundle"


class TrackingFailed(Exception):
    """The tracker did not do what it was asked; `uri` and `cause` say where and why. A retry goes on from there."""

    def __init__(self, uri: str, cause: str) -> None:
        self.uri, self.cause = uri, cause
        super().__init__(
            f"MLflow at {uri}: {cause}. The bundle is safe on disk: see that the tracker can be reached and is of "
            "MLflow 3, then do the same again"
        )


class Tracker(Protocol):
    """Where candidates are recorded for people to look at; nothing in Charkha reads from it to decide."""

    def log_candidate(self, manifest: Manifest, folder: Path, run_key: str) -> Mapping[str, str]:
        """Record a model version, whose bundle lies in `folder`, and return where: once per `run_key`."""
        ...

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return alias → registered version."""
        ...

    def set_alias(self, model: str, alias: str, registered_version: str) -> None:
        """Let an alias, such as "champion", name a registered version."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Let an alias name nothing; harmless when it does already."""
        ...


class NoTracker:
    """Records nothing."""

    def log_candidate(self, manifest: Manifest, folder: Path, run_key: str) -> Mapping[str, str]:
        """Return an empty place."""
        return {}

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return no aliases."""
        return {}

    def set_alias(self, model: str, alias: str, registered_version: str) -> None:
        """Do nothing."""

    def delete_alias(self, model: str, alias: str) -> None:
        """Do nothing."""


class MlflowTracker:
    """Records candidates in MLflow, under an experiment and a registered model of the model's own name.

    home: the project's home; the default tracker is a SQLite file in it, and all artifacts are copied under it.
    uri: of another MLflow, such as "http://mlflow:5000", which then keeps the artifacts where it likes.
    """

    def __init__(self, home: Path, uri: str | None = None) -> None:
        own = f"sqlite:///{home.absolute() / 'mlflow.db'}"
        self.uri = uri or own
        self._own = home.absolute() if self.uri == own else None
        self._opened: MlflowClient | None = None

    def log_candidate(self, manifest: Manifest, folder: Path, run_key: str) -> Mapping[str, str]:
        """Record a version: parameters, metrics, tags and the bundle's folder; register it. Returns `run_id` and
        `registered_version`. What was recorded before, wholly or in part, is completed. Raises TrackingFailed.
        """
        with self._client() as client:
            run = _find_run(client, self._experiment(client, manifest.model), manifest, run_key)
            run_id = run.info.run_id
            if run.info.status != "FINISHED":
                _log_run(client, run_id, manifest)
                client.log_artifacts(run_id, str(folder), ARTIFACT)
            registered = _registered_version(client, run, manifest)
            client.set_terminated(run_id, "FINISHED", manifest.created_us // 1000)
        return {"run_id": run_id, "registered_version": registered}

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return alias → registered version; empty for a model that was never registered. Raises TrackingFailed."""
        with self._client() as client:
            found = client.search_registered_models(f"name = '{model}'")
            return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}

    def set_alias(self, model: str, alias: str, registered_version: str) -> None:
        """Let an alias name a registered version, in place of what it named. Raises TrackingFailed."""
        with self._client() as client:
            client.set_registered_model_alias(model, alias, registered_version)

    def delete_alias(self, model: str, alias: str) -> None:
        """Let an alias name nothing; harmless when it does already. Raises TrackingFailed."""
        if alias in self.aliases(model):
            with self._client() as client:
                client.delete_registered_model_alias(model, alias)

    @contextmanager
    def _client(self) -> "Iterator[MlflowClient]":
        """Yield the client, opened at its first use: that alone takes seconds."""
        with _quiet():
            from mlflow.exceptions import MlflowException

            try:
                self._opened = self._opened or self._open()
                yield self._opened
            except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
                raise TrackingFailed(self.uri, str(error)) from error

    def _open(self) -> "MlflowClient":
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)  # importing it sets its own level
        if self._own:
            _prepare_database(self._own / "mlflow.db")
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def _experiment(self, client: "MlflowClient", model: str) -> str:
        found = client.get_experiment_by_name(model)
        if found:
            return str(found.experiment_id)
        artifacts = (self._own / "mlartifacts").as_uri() if self._own else None
        return str(client.create_experiment(model, artifact_location=artifacts))


def _prepare_database(file: Path) -> None:
    """Set SQLite's write-ahead log, which the file keeps: MLflow makes its schema in half the time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = wal")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from writing to the terminal, warning of its own affairs, and reporting its use to anyone."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _find_run(client: "MlflowClient", experiment: str, manifest: Manifest, run_key: str) -> "Run":
    """Return the run of a version, begun if there is none."""
    tags = {
        "charkha.version": manifest.version,
        "charkha.run_key": run_key,
        "charkha.fingerprint": manifest.lineage.fingerprint,
        "charkha.definition": manifest.lineage.definition_digest,
        "charkha.as_of_us": str(manifest.as_of_us),
        "charkha.passed": str(manifest.passed).lower(),
        "charkha.purpose": manifest.purpose,
        "charkha.owner": manifest.owner,
    }
    found = client.search_runs([experiment], f"tags.`charkha.version` = '{manifest.version}'")
    mine = [run for run in found if run.data.tags.get("charkha.run_key") == run_key]
    return mine[0] if mine else client.create_run(experiment, manifest.created_us // 1000, tags, manifest.version)


def _log_run(client: "MlflowClient", run_id: str, manifest: Manifest) -> None:
    from mlflow.entities import Metric, Param

    at_ms = manifest.created_us // 1000
    numbers = [Metric(name, value, at_ms, 0) for name, value in flat_metrics(manifest).items()]
    parameters = {"estimator": manifest.estimator.kind, **manifest.estimator.parameters}
    client.log_batch(run_id, numbers, [Param(name, str(value)) for name, value in parameters.items()])


def flat_metrics(manifest: Manifest) -> dict[str, float]:
    """Return the metrics by names such as "test/roc_auc", with "/low" and "/high" for the interval."""
    flat: dict[str, float] = {}
    for part, metrics in manifest.metrics.items():
        for metric, measured in metrics.items():
            flat |= _named(f"{part}/{metric}", measured)
    return flat if manifest.threshold is None else {**flat, "threshold": manifest.threshold}


def _named(name: str, measured: Estimate) -> dict[str, float]:
    return {name: measured.value, f"{name}/low": measured.low, f"{name}/high": measured.high}


def _registered_version(client: "MlflowClient", run: "Run", manifest: Manifest) -> str:
    """Return the registered version of a run, registered if it is not."""
    run_id = run.info.run_id
    if not client.search_registered_models(f"name = '{manifest.model}'"):
        client.create_registered_model(manifest.model, description=f"For {manifest.purpose}; owner {manifest.owner}.")
    found = client.search_model_versions(f"name = '{manifest.model}' and run_id = '{run_id}'")
    if found:
        return str(found[0].version)
    source = f"{run.info.artifact_uri}/{ARTIFACT}"
    tags = {"charkha.version": manifest.version}
    return str(client.create_model_version(manifest.model, source, run_id, tags, await_creation_for=0).version)
