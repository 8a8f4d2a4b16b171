"""What Prometheus reads: calls, rows, latencies, refusals, failures; and, asked at each scrape, who serves what.

With several workers each counts in files of a common folder (`PROMETHEUS_MULTIPROC_DIR`, set before this module is
imported), so that whichever answers the scrape tells of all.
"""

import logging
import os
from collections.abc import Iterator, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from charkha.clock import Clock
from charkha.features.evaluate import Failure
from charkha.features.feed import Pushed
from charkha.serving.lineup import LineUp, Player
from charkha.serving.metric_files import CountsFile, Together
from charkha.serving.observer import STAGES, Stages
from charkha.serving.prediction_log import Cause
from charkha.serving.rule_hits import RuleHits
from charkha.serving.scoring import Part
from charkha.serving.service import Service

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_BETWEEN_WARNINGS_US = 60_000_000
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began: a reset of it says the same
_logger = logging.getLogger("charkha.serving")


class ServingMetrics:
    """Counts what happens in one worker; the observer of its service, and told by its routes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = None if MULTIPROCESS_FOLDER in os.environ else self.registry
        if registry is None:
            pid = os.getpid()  # a worker never forks: to ask who it is at each count takes longer than the count
            values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]
            values.MmapedDict = CountsFile  # type: ignore[attr-defined]
            Together(self.registry)  # type: ignore[no-untyped-call]  # it registers itself
        self._requests = Counter(
            "charkha_http_requests", "HTTP requests answered.", ["route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "charkha_http_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._prediction_seconds = Histogram(
            "charkha_prediction_seconds",
            "Time from when the first call of a batch came until its rows were scored.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_rows = Histogram(
            "charkha_prediction_rows", "Rows of a batch.", ["model"], buckets=_ROWS, registry=registry
        )
        self._stage_seconds = Histogram(
            "charkha_stage_seconds",
            "Time of a stage of answering a batch: wait, features, model, log.",
            ["model", "stage"],
            buckets=_STAGE_SECONDS,
            registry=registry,
        )
        self._queue_rows = Gauge(
            "charkha_queue_rows",
            "Rows that wait for the next batch.",
            ["model"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._shed = Counter("charkha_shed", "Calls refused because there were too many.", ["model"], registry=registry)
        self._failures = Counter(
            "charkha_version_failures",
            "Calls answered without a version that failed.",
            ["model", "version", "role"],
            registry=registry,
        )
        self._not_evaluated = Counter(
            "charkha_request_feature_failures",
            "Rows answered without a request feature, or a rule, that could not be evaluated.",
            ["model", "feature"],
            registry=registry,
        )
        self._fallbacks = Counter(
            "charkha_fallbacks", "Rows that the fallback answered.", ["model", "cause"], registry=registry
        )
        self._left_out = Counter(
            "charkha_shadow_rows_left_out",
            "Rows of which the log has not what shadows made.",
            ["model"],
            registry=registry,
        )
        self._log_failures = Counter(
            "charkha_log_failures",
            "Rows that could not be logged, by what became of them.",
            ["model", "outcome"],
            registry=registry,
        )
        self._not_logging: set[str] = set()  # models of which it is said
        self._deployments = Counter("charkha_deployments_loaded", "Line-ups swapped in.", ["model"], registry=registry)
        self._events = Counter("charkha_events", "Rows pushed.", ["source", "outcome"], registry=registry)
        self._labels = Counter("charkha_labels", "Labels logged.", ["model"], registry=registry)
        self.rule_hits = RuleHits(
            Counter(
                "charkha_rule_hits",
                "Rows that were answered, and for which a rule held.",
                ["model", "rule", "shadow"],
                registry=registry,
            )
        )
        self._rate_limited = Counter(
            "charkha_rate_limited", "Calls refused because their API key had used its rate.", ["key"], registry=registry
        )
        self._of_route: dict[
            tuple[str, int], tuple[Counter, Histogram]
        ] = {}  # looking them up takes as long as counting
        self._stages: dict[str, list[Histogram]] = {}
        self._queues: dict[str, Gauge] = {}
        self._sheds: dict[str, Counter] = {}
        self._said: set[tuple[str, str, str]] = set()
        self._warned_us: dict[tuple[str, str], int] = {}

    def predicted(self, model: str, rows: int, latency_us: int) -> None:
        """Count an answered call."""
        self._prediction_seconds.labels(model).observe(latency_us / 1e6)
        self._batch_rows.labels(model).observe(rows)

    def staged(self, model: str, stages: Stages) -> None:
        """Count the stages of a batch."""
        if model not in self._stages:
            self._stages[model] = [self._stage_seconds.labels(model, stage) for stage in STAGES]
        for histogram, began_ns, ended_ns in zip(self._stages[model], stages, stages[1:], strict=False):
            histogram.observe((ended_ns - began_ns) / 1e9)

    def queued(self, model: str, rows: int) -> None:
        """Set how many rows wait."""
        if model not in self._queues:
            self._queues[model] = self._queue_rows.labels(model)
        self._queues[model].set(rows)

    def shed(self, model: str) -> None:
        """Count a call that was refused."""
        if model not in self._sheds:
            self._sheds[model] = self._shed.labels(model)
        self._sheds[model].inc()

    def ruled(self, model: str, parts: Sequence[Part]) -> None:
        """Have the hits of rules counted."""
        self.rule_hits.leave(model, parts)

    def failed(self, model: str, player: Player, error: Exception) -> None:
        """Count a failure of a version; the first of each kind is logged with its trace."""
        self._failures.labels(model, player.version, player.role).inc()
        kind = (model, player.version, type(error).__name__)
        if kind not in self._said:
            self._said.add(kind)
            _logger.warning("%s %s of model %s failed", player.role, player.version, model, exc_info=error)

    def fell_back(self, model: str, cause: Cause, rows: int) -> None:
        """Count rows that the fallback answered."""
        self._fallbacks.labels(model, cause).inc(rows)

    def not_evaluated(self, model: str, failure: Failure, time_us: int) -> None:
        """Count rows; a feature is in the log at most once in a minute, by the time of its predictions."""
        self._not_evaluated.labels(model, failure.name).inc(failure.rows)
        warned_us = self._warned_us.get((model, failure.name))
        if warned_us is None or not warned_us <= time_us < warned_us + _BETWEEN_WARNINGS_US:
            self._warned_us[model, failure.name] = time_us
            said = (model, failure.name, failure.rows, failure.of, failure.reason)
            _logger.warning("model %s: %s could not be evaluated for %d of %d rows. One of them: %s", *said)

    def shadows_left_out(self, model: str, rows: int) -> None:
        """Count rows of which the log has not what shadows made of them."""
        self._left_out.labels(model).inc(rows)

    def not_logged(self, model: str, reason: str, rows: int, *, refused: bool) -> None:
        """Count rows that could not be logged; the first of them is an error in the server's own log."""
        self._log_failures.labels(model, "refused" if refused else "unlogged").inc(rows)
        if model not in self._not_logging:
            self._not_logging.add(model)
            now = "calls are refused" if refused else "calls are answered unlogged"
            _logger.error("model %s: predictions cannot be logged, %s: %s", model, now, reason)

    def logs_again(self, model: str) -> None:
        """Log that it is over."""
        self._not_logging.discard(model)
        _logger.info("model %s: predictions are logged again", model)

    def deployed(self, lineup: LineUp) -> None:
        """Count a line-up, and log who is in it."""
        self._deployments.labels(lineup.model).inc()
        self.rule_hits.declared(lineup)
        roles = ", ".join(f"{player.role} {player.version}" for player in lineup.players)
        if lineup.absent:
            _logger.error("model %s: generation %d cannot be loaded: on its fallback", lineup.model, lineup.generation)
        else:
            _logger.info("model %s: generation %d serves: %s", lineup.model, lineup.generation, roles)
        if lineup.killed is not None:
            _logger.warning("model %s is killed: %s", lineup.model, lineup.killed)

    def pushed(self, source: str, pushed: Pushed) -> None:
        """Count pushed rows by what became of them."""
        for outcome in ("accepted", "corrections", "duplicates"):
            self._events.labels(source, outcome).inc(getattr(pushed, outcome))

    def quarantined(self, source: str, rows: int) -> None:
        """Count pushed rows that broke their contract."""
        self._events.labels(source, "quarantined").inc(rows)

    def labelled(self, model: str, count: int) -> None:
        """Count logged labels."""
        self._labels.labels(model).inc(count)

    def rate_limited(self, key: str) -> None:
        """Count a call that came too soon. key: its name."""
        self._rate_limited.labels(key).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request. route: its pattern, never what the client wrote, which has no end of values."""
        found = self._of_route.get((route, status))
        if found is None:
            found = self._requests.labels(route, status), self._request_seconds.labels(route)
            self._of_route[route, status] = found
        requests, request_seconds = found
        requests.inc()
        request_seconds.observe(seconds)

    def exposition(self) -> bytes:
        """Return everything in the format that Prometheus reads."""
        self.rule_hits.refresh()
        return generate_latest(self.registry)


class Current(Collector):
    """What is so now: who serves what, and how old the newest row of each source is."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        shares = GaugeMetricFamily(
            "charkha_version_share", "Share of the requests a version answers.", labels=["model", "version", "role"]
        )
        generations = GaugeMetricFamily("charkha_deployment_generation", "The deployment loaded.", labels=["model"])
        for name, lineup in self._service.line_ups().items():
            generations.add_metric([name], lineup.generation)
            for player in lineup.players:
                shares.add_metric([name, player.version, player.role], player.share)
        killed = GaugeMetricFamily("charkha_model_killed", "1 while a model is on its fallback.", labels=["model"])
        for name, lineup in self._service.line_ups().items():
            killed.add_metric([name], float(lineup.killed is not None))
        failing = GaugeMetricFamily("charkha_log_failing", "1 while predictions cannot be logged.", labels=["model"])
        for name, problem in self._service.standing.log_problems().items():
            failing.add_metric([name], float(problem is not None))
        stuck = GaugeMetricFamily(
            "charkha_deployment_failing", "1 while the newest deployment cannot be loaded.", labels=["model"]
        )
        for name, fails in self._service.standing.deployments_failing().items():
            stuck.add_metric([name], float(fails))
        ages = GaugeMetricFamily("charkha_source_age_seconds", "Age of the newest known row.", labels=["source"])
        now_us = self._clock.now()
        for source, known_us in self._service.newest_known_us().items():
            ages.add_metric([source], (now_us - known_us) / 1e6)
        return iter((shares, generations, killed, failing, stuck, ages))
