"""Versions that are made as a remedy: one without the views at fault, and one that is the champion calibrated anew."""

from collections.abc import Iterator

from charkha.operations.remedies.at_fault import about, diagnosis_of, views_at_fault
from charkha.operations.remedies.keys import recalibration_key, variant_key
from charkha.operations.retraining.exclusions import as_plain, windows_of
from charkha.operations.retraining.triggers import can_recalibrate
from charkha.operations.situation import Situation, Variant
from charkha.operations.steps import Step, Train
from charkha.operations.veto import over
from charkha.operations.wording import moment
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.ledger import Incident

# A calibration is learnt from two thirds of what has matured since, and tested on a third: a day of it at least.
LEAST_DAYS = 3


def variant_for(incident: Incident, situation: Situation, model: Model) -> Variant | None:
    """Return the version that was made without the views that an incident makes wrong, if there is one."""
    key = variant_key(incident, views_at_fault(incident, model))
    return next((each for each in situation.variants if each.run_key == key), None)


def make_variants(situation: Situation, model: Model) -> Iterator[Step]:
    """Train what remedies need: a version without the views at fault, the champion calibrated anew."""
    yield from train_variant(situation, model)
    yield from recalibrate(situation, model)


def train_variant(situation: Situation, model: Model) -> Iterator[Step]:
    """Train a version without the views at fault, on nothing of the incident's time."""
    champion = situation.deployment.champion
    for incident in situation.open_incidents:
        views = views_at_fault(incident, model)
        if champion is None or not {*views} & situation.champion_views or not _leaves_features(model, views):
            continue
        key = variant_key(incident, views)
        if key in situation.written:
            continue
        bad = [incident, *over(situation.incidents, model, situation.now_us)]
        yield Train(
            run_key=key,
            as_of_us=situation.now_us,
            reason=f"{', '.join(views)} at fault by {incident.id}: a version without is to stand in until that is over",
            evidence={
                **about(incident, "quarantine_feature"),
                "champion": champion.version,
                "without": [*views],
                "left_out": as_plain(windows_of(bad, model, situation.now_us)),
            },
        )


def recalibrate(situation: Situation, model: Model) -> Iterator[Step]:
    """Calibrate the champion anew where only the share of the positives has moved."""
    champion = situation.deployment.champion
    if champion is None or not can_recalibrate(model) or situation.waiting or situation.deployment.shadows:
        return
    for incident in situation.open_incidents:
        ripe_us = incident.began_us + 2 * model.label.delay_us + LEAST_DAYS * DAY_US
        key = recalibration_key(incident)
        if incident.cause != "prior" or situation.now_us < ripe_us or key in situation.written:
            continue
        bad = over(situation.incidents, model, situation.now_us)
        yield Train(
            run_key=key,
            as_of_us=situation.now_us,
            reason=(
                f"{incident.id}, {diagnosis_of(incident).headline}, since {moment(incident.began_us)}: "
                f"{champion.version} stays as it is, and its calibration and threshold are learnt anew on what has "
                "matured since"
            ),
            evidence={
                **about(incident, "recalibrate"),
                "champion": champion.version,
                "incidents": [incident.id],
                "recalibrates_since_us": incident.began_us,
                "left_out": as_plain(windows_of(bad, model, situation.now_us)),
            },
        )


def _leaves_features(model: Model, views: tuple[str, ...]) -> bool:
    return bool(model.request_features) or any(view.name not in views for view in model.views)
