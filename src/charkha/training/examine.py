"""Fit a model and put it to the test: what it scores, how good that is, and what the gates say."""

import polars as pl
from attrs import frozen

from charkha.bundles.manifest import Estimate, GateResult
from charkha.spec.gates import TestedGate
from charkha.spec.model import FloatArray, Model
from charkha.training.baselines import first_rules, rules_scores, trivial_scores
from charkha.training.champion import Champion
from charkha.training.dataset import Dataset
from charkha.training.evaluate import Slices, measure, measure_slices, reported_metrics, time_clusters
from charkha.training.fit import Fitted
from charkha.training.gates import Evidence, check_gate
from charkha.training.split import Parts


@frozen(eq=False)
class Examined:
    """What is known of a fitted model. `metrics`: part → metric → estimate; `slices` and `gates`: on the test rows.

    test_scores: of the test rows, float64, calibrated.
    """

    test_scores: FloatArray
    metrics: dict[str, dict[str, Estimate]]
    slices: Slices
    gates: tuple[GateResult, ...]


def examine(model: Model, dataset: Dataset, parts: Parts, fitted: Fitted, champion: Champion | None) -> Examined:
    """Measure a fitted model on its validation and test rows, and check its gates on the test rows alone.

    champion: on the same test rows. Raises MetricUndefined when the test rows cannot give the model's metrics.
    """
    labels = dataset.labels
    test_labels = labels[parts.test]
    scores = fitted.score(dataset.features[parts.test])
    clusters = time_clusters(dataset.at_us[parts.test])
    evidence = Evidence(
        labels=test_labels,
        scores=scores,
        clusters=clusters,
        champion=champion,
        rules=_rules_alone(model, dataset, parts),
        trivial=trivial_scores(labels[parts.train], len(parts.test)),
        slices={field: dataset.spine[field][parts.test] for field in model.slices},
    )
    validation_clusters = time_clusters(dataset.at_us[parts.validation])
    return Examined(
        test_scores=scores,
        metrics={
            "validation": measure(
                reported_metrics(model), labels[parts.validation], fitted.validation_scores, validation_clusters
            ),
            "test": measure(reported_metrics(model), test_labels, scores, clusters),
        },
        slices=measure_slices(model, dataset.spine[parts.test], test_labels, scores, clusters),
        gates=tuple(check_gate(gate, evidence) for gate in model.gates if isinstance(gate, TestedGate)),
    )


def _rules_alone(model: Model, dataset: Dataset, parts: Parts) -> FloatArray:
    inputs = pl.concat([dataset.spine.select(model.request), dataset.features], how="horizontal")
    rules = [rule for rule in model.rules if rule.stands_alone]
    train, test = (first_rules(rules, inputs[rows]) for rows in (parts.train, parts.test))
    return rules_scores(train, dataset.labels[parts.train], test)
