"""Versions that are made as a remedy: one without the views at fault, and one that is the champion calibrated anew."""

from collections.abc import Iterator

from charkha.operations.remedies.at_fault import about, diagnosis_of, views_at_fault
from charkha.operations.remedies.keys import recalibration_key, variant_key
from charkha.operations.retraining.allowed import cooled_since, within_budget
from charkha.operations.retraining.exclusions import as_plain, windows_of
from charkha.operations.retraining.past import PastTraining
from charkha.operations.retraining.triggers import can_recalibrate, was_recalibrated
from charkha.operations.situation import Situation, Variant
from charkha.operations.steps import Note, Step, Train
from charkha.operations.veto import over
from charkha.operations.wording import moment
from charkha.spec.durations import DAY_US, parse_duration
from charkha.spec.model import Model
from charkha.storage.ledger import Incident

# A calibration is learnt from two thirds of what has matured since, and tested on a third: a day of it at least.
LEAST_DAYS = 3


def variant_for(incident: Incident, situation: Situation, model: Model) -> Variant | None:
    """Return the version that was made without the views that an incident makes wrong, if there is one.

    Of several incidents of the same views one version stands in for all: it reads none of what is wrong.
    """
    keys = [variant_key(incident, views_at_fault(incident, model))]
    keys += [each.run_key for each in reversed(_made_without(incident, situation, model))]
    found = {each.run_key: each for each in situation.variants}
    return next((found[key] for key in keys if key in found), None)


def _made_without(incident: Incident, situation: Situation, model: Model) -> list[PastTraining]:
    """Return the trainings without the views that an incident makes wrong, since a cooldown before it was found."""
    views = views_at_fault(incident, model)
    since_us = incident.opened_us - parse_duration(model.retrain.cooldown)
    return [each for each in situation.past if views and each.without == views and each.began_us >= since_us]


def make_variants(situation: Situation, model: Model) -> Iterator[Step]:
    """Train what remedies need: a version without the views at fault, the champion calibrated anew."""
    yield from train_variant(situation, model)
    if (step := recalibrate(situation, model)) is not None:
        yield step


def train_variant(situation: Situation, model: Model) -> Iterator[Step]:
    """Train a version without the views at fault, on nothing of the incident's time."""
    champion = situation.deployment.champion
    for incident in situation.open_incidents:
        views = views_at_fault(incident, model)
        if champion is None or not {*views} & situation.champion_views or not _leaves_features(model, views):
            continue
        key = variant_key(incident, views)
        if key in situation.written or _made_without(incident, situation, model):
            continue
        bad = [incident, *over(situation.incidents, model, situation.now_us)]
        step = Train(
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
        yield within_budget(step, situation, model)


def recalibrate(situation: Situation, model: Model) -> Step | None:
    """Calibrate the champion anew where only the share of the positives has moved, once for all that says so."""
    champion = situation.deployment.champion
    if champion is None or not can_recalibrate(model) or situation.waiting or situation.deployment.shadows:
        return None
    shifted = [each for each in situation.open_incidents if _calls_for_calibration(each, situation, model)]
    if not shifted:
        return None
    first, since_us = shifted[0], max(each.began_us for each in shifted)
    also = f", and {', '.join(each.id for each in shifted[1:])}" if shifted[1:] else ""
    bad = over(situation.incidents, model, situation.now_us)
    step = Train(
        run_key=recalibration_key(first),
        as_of_us=situation.now_us,
        reason=(
            f"{first.id}, {diagnosis_of(first).headline}{also}, since {moment(since_us)}: "
            f"{champion.version} stays as it is, and its calibration and threshold are learnt anew on what has "
            "matured since"
        ),
        evidence={
            **about(first, "recalibrate"),
            "champion": champion.version,
            "incidents": [each.id for each in shifted],
            "recalibrates_since_us": since_us,
            "left_out": as_plain(windows_of(bad, model, situation.now_us)),
        },
    )
    allowed = within_budget(step, situation, model)
    last_us = max((each.began_us for each in situation.past if each.recalibrates), default=None)
    return allowed if isinstance(allowed, Note) else cooled_since(step, last_us, situation, model)


def _calls_for_calibration(incident: Incident, situation: Situation, model: Model) -> bool:
    """Say whether enough has matured since a shift of the prior that no calibration has answered."""
    ripe_us = incident.began_us + 2 * model.label.delay_us + LEAST_DAYS * DAY_US
    answered = recalibration_key(incident) in situation.written or was_recalibrated(incident, situation.past)
    return incident.cause == "prior" and situation.now_us >= ripe_us and not answered


def _leaves_features(model: Model, views: tuple[str, ...]) -> bool:
    return bool(model.request_features) or any(view.name not in views for view in model.views)
