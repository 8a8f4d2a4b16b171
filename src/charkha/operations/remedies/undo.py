"""The end of remedies: what was done about an incident is undone when it is over, if nobody changed it since."""

from collections.abc import Iterator

from charkha.operations.remedies.variants import variant_for
from charkha.operations.situation import Situation
from charkha.operations.steps import Mend, Step
from charkha.spec.model import Model
from charkha.storage.ledger import Decision, Incident


def undo(situation: Situation, model: Model) -> Iterator[Step]:
    """Let the model answer again, and the champion with all features, once what was at fault is over."""
    still_open = {each.id: each for each in situation.open_incidents}
    for done in situation.mends:
        if f"{done.key}/undone" in situation.written:
            continue
        incident = still_open.get(str(done.evidence["incident"]))
        if situation.killed is not None and situation.killed.key == done.key:
            yield from _end_fallback(done, incident, situation, model)
        elif done.evidence["remedy"] == "substitute" and incident is None:
            yield from _restore(done, situation, model)


def _end_fallback(done: Decision, incident: Incident | None, situation: Situation, model: Model) -> Iterator[Step]:
    if incident is not None and not _serves_variant(incident, situation, model):
        return
    over = f"{done.evidence['incident']} is over"
    why = over if incident is None else "a version without what is at fault serves"
    evidence = {**done.evidence, "undoes": done.key}
    yield Mend(kind="end_fallback", key=f"{done.key}/undone", reason=why, evidence=evidence)


def _restore(done: Decision, situation: Situation, model: Model) -> Iterator[Step]:
    champion, former = situation.deployment.champion, str(done.evidence["champion"])
    if champion is None or champion.version != done.evidence["version"]:
        return
    if any(_serves_variant(each, situation, model) for each in situation.open_incidents):
        return  # it stands in for another incident of the same views, too
    yield Mend(
        kind="restore",
        key=f"{done.key}/undone",
        subject=former,
        generation=situation.deployment.generation,
        reason=f"{done.evidence['incident']} is over: {former}, which has all features, answers again",
        evidence={**done.evidence, "undoes": done.key, "version": former, "champion": champion.version},
    )


def _serves_variant(incident: Incident, situation: Situation, model: Model) -> bool:
    found, champion = variant_for(incident, situation, model), situation.deployment.champion
    return found is not None and champion is not None and champion.version == found.version
