"""The remedy of each cause, as steps: what is at fault is told and taken out of the way.

    source          page its owner; a version without the views that read it stands in for the champion; the fallback
                    answers until there is one
    skew            the same, for the views whose features are served otherwise than they are recomputed
    label           page the owner of the labels; nothing is trained (veto)
    infrastructure  have the replica replaced; roll back from the version; page the model's owner
    prior           calibrate the champion anew; a training where that cannot be, or did not help (retraining)
    concept, population  a training (retraining)

Each is one step under a key of the incident, so that it is done once. Whether it is done, proposed or only written down
is for `autonomy` to say; how it ends is in `undo`.
"""

from collections.abc import Iterator

from charkha.operations.remedies.at_fault import about, diagnosis_of, owners, views_at_fault
from charkha.operations.remedies.keys import PAGE, remedy_key
from charkha.operations.remedies.variants import variant_for
from charkha.operations.situation import Situation
from charkha.operations.steps import Mend, Note, Step
from charkha.operations.veto import BROKEN
from charkha.operations.wording import moment
from charkha.spec.model import Model


def mend_at_once(situation: Situation, model: Model) -> Iterator[Step]:
    """Do what takes no training: replace a replica, roll back, let another version or the fallback answer."""
    for remedy in (eject, roll_back, substitute, serve_fallback):
        yield from remedy(situation, model)


def page(situation: Situation, model: Model) -> Iterator[Step]:
    """Tell the owner of what is at fault."""
    for incident in situation.open_incidents:
        key = f"{remedy_key(incident, PAGE)}/{incident.cause}"
        if incident.cause not in BROKEN or key in situation.written:
            continue
        who, found = owners(incident, model), diagnosis_of(incident)
        yield Note(
            key=key,
            action=PAGE,
            reason=f"{', '.join(who)}: {found.headline}, since {moment(incident.began_us)}. {found.remedy.words}",
            evidence={**about(incident, PAGE), "owners": [*who], "diagnosis": incident.diagnosis},
        )


def eject(situation: Situation, model: Model) -> Iterator[Step]:
    """Have replicas at fault replaced."""
    for incident in situation.open_incidents:
        found = diagnosis_of(incident)
        if found.remedy.action != "eject_replica":
            continue
        for replica in found.culprit.replicas:
            key = f"{remedy_key(incident, 'eject_replica')}/{replica}"
            if key not in situation.written:
                reason = f"{replica} is at fault by {incident.id}, {found.headline}: a new process takes its place"
                evidence = {**about(incident, "eject_replica"), "replica": replica}
                yield Mend(kind="eject_replica", key=key, subject=replica, reason=reason, evidence=evidence)


def roll_back(situation: Situation, model: Model) -> Iterator[Step]:
    """Go back to the champion before, where the present one is at fault."""
    champion, former = situation.deployment.champion, situation.former
    for incident in situation.open_incidents:
        found, key = diagnosis_of(incident), remedy_key(incident, "roll_back")
        if found.remedy.action != "roll_back" or champion is None or former is None or key in situation.written:
            continue
        if found.culprit.versions and champion.version not in found.culprit.versions:
            continue
        yield Mend(
            kind="roll_back",
            key=key,
            subject=former,
            generation=situation.deployment.generation,
            reason=f"{champion.version} is at fault by {incident.id}, {found.headline}; {former} served before it",
            evidence={**about(incident, "roll_back"), "version": former, "champion": champion.version},
        )


def substitute(situation: Situation, model: Model) -> Iterator[Step]:
    """Let a version without the views at fault stand in for the champion that reads them."""
    champion = situation.deployment.champion
    for incident in situation.open_incidents:
        found, key = variant_for(incident, situation, model), remedy_key(incident, "substitute")
        if found is None or not found.passed or champion is None or key in situation.written:
            continue
        if champion.version == found.version:  # it stands in already, for another incident of the same views
            continue
        views = views_at_fault(incident, model)
        without = ", ".join(views)
        also = tuple(version for version, reads in situation.views_beside.items() if reads & {*views})
        yield Mend(
            kind="substitute",
            key=key,
            subject=found.version,
            generation=situation.deployment.generation,
            takes_out=also,
            reason=(
                f"{champion.version} reads {without}, at fault by {incident.id} since {moment(incident.began_us)}; "
                f"{found.version} was made without, and passed its gates. It stands in until that is over"
                + (f"; what reads it too, and was on trial, waits until then: {', '.join(also)}" if also else "")
            ),
            evidence={
                **about(incident, "substitute"),
                "version": found.version,
                "champion": champion.version,
                **({"taken_out": [*also]} if also else {}),
            },
        )


def serve_fallback(situation: Situation, model: Model) -> Iterator[Step]:
    """Put a model on its fallback while views that it reads are at fault, and no version without them is there."""
    champion = situation.deployment.champion
    if model.fallback is None or champion is None or situation.killed is not None:
        return
    for incident in situation.open_incidents:
        found, key = variant_for(incident, situation, model), remedy_key(incident, "serve_fallback")
        views = [name for name in views_at_fault(incident, model) if name in situation.champion_views]
        if not views or key in situation.written or (found is not None and found.passed):
            continue
        yield Mend(
            kind="serve_fallback",
            key=key,
            reason=(
                f"{champion.version} reads {', '.join(views)}, at fault by {incident.id} since "
                f"{moment(incident.began_us)} in {diagnosis_of(incident).share:.0%} of the traffic; the fallback "
                "answers until that is over, or a version without them serves"
            ),
            evidence={**about(incident, "serve_fallback"), "champion": champion.version},
        )
