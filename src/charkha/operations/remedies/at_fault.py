"""Who and what is at fault by an incident's diagnosis: the views that read it, and whom to tell."""

from collections.abc import Mapping

from charkha.monitoring.diagnosis.documents import from_document
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.spec.model import Model
from charkha.storage.ledger import Incident


def diagnosis_of(incident: Incident) -> Diagnosis:
    """Return the newest diagnosis of an incident."""
    return from_document(incident.diagnosis)


def views_at_fault(incident: Incident, model: Model) -> tuple[str, ...]:
    """Return the names of the model's views that an incident makes wrong, sorted; none where it names no feature.

    Those whose features it names; else, where a source is at fault, those that read it.
    """
    culprit = diagnosis_of(incident).culprit
    if incident.cause not in {"source", "skew"}:
        return ()
    named = {name.partition(".")[0] for name in culprit.features}
    by_feature = {view.name for view in model.views} & named
    by_source = {view.name for view in model.views if view.source.name in culprit.sources}
    return tuple(sorted(by_feature or by_source))


def owners(incident: Incident, model: Model) -> tuple[str, ...]:
    """Return who is to be told: the owners of the sources at fault, of the labels' where labels are; else the model's.

    The model's owner stands in for a source that declares none.
    """
    names = {*diagnosis_of(incident).culprit.sources}
    if incident.cause == "label":
        names = {model.label.source.name}
    owned = [source.owner or model.owner for source in model.sources if source.name in names]
    return tuple(dict.fromkeys(owned)) or (model.owner,)


def about(incident: Incident, remedy: str) -> Mapping[str, object]:
    """Return what the evidence of every remedy holds: of which kind it is, and what it is a remedy of."""
    return {
        "remedy": remedy,
        "incident": incident.id,
        "cause": incident.cause,
        "culprit": incident.culprit,
        "began_us": incident.began_us,
    }
