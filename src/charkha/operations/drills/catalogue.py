"""All kinds of incident, found in the folder `incidents`; and the one verb: put a fault into traffic."""

from collections.abc import Mapping, Sequence
from functools import reduce
from importlib import import_module
from pkgutil import iter_modules

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills import incidents
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.pairs import ORDER, kind_of


def _found() -> dict[str, Incident]:
    modules = [import_module(f"{incidents.__name__}.{module.name}") for module in iter_modules(incidents.__path__)]
    kinds = [incident for module in modules for incident in module.INCIDENTS]
    return {incident.kind: incident for incident in kinds}


INCIDENTS: Mapping[str, Incident] = _found()


def incident_of(fault: Fault, kinds: Mapping[str, Incident] = INCIDENTS) -> Incident:
    """Return the kind of a fault, or the pair of kinds. Raises BadFault."""
    try:
        return kind_of(fault.kind, kinds)
    except KeyError:
        remedy = "Choose one of them, two joined by '+', or declare it in the definition with @ck.incident."
        raise BadFault(fault, f"one of {', '.join(sorted(kinds))}", repr(fault.kind), remedy) from None


def inject(traffic: Traffic, fault: Fault, rescore: Rescore, kinds: Mapping[str, Incident] = INCIDENTS) -> Traffic:
    """Return traffic with a fault in it. The same fault in the same traffic gives the same; nothing else is changed.

    kinds: the catalogue, and what a project declares (`declared.with_declared`). Raises BadFault.
    """
    incident = incident_of(fault, kinds)
    return incident.inject(traffic, incident.resolved(fault, traffic, rescore.plan), rescore)


def inject_all(
    traffic: Traffic, faults: Sequence[Fault], rescore: Rescore, kinds: Mapping[str, Incident] = INCIDENTS
) -> Traffic:
    """Return traffic with several faults in it, whatever their order: the world's, then the data's, then the server's.

    Faults of one cause are put in one after the other. Raises BadFault.
    """
    ordered = sorted(faults, key=lambda fault: ORDER.index(incident_of(fault, kinds).cause))
    return reduce(lambda bent, fault: inject(bent, fault, rescore, kinds), ordered, traffic)
