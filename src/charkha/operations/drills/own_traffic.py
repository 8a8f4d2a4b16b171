"""What a model is drilled on: its own traffic of late, before anything was wrong in it."""

from attrs import evolve

from charkha.engines.engine import Engine
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incidents import hit
from charkha.operations.case import OnStep, Question, case_of
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home


def drill_case(
    project: Project, model: Model, home: Home, question: Question, *, engine: Engine, on_step: OnStep
) -> Case:
    """Return the case that a drill is made on: as `case_of`, ended where the first incident began that is open.

    Raises TooLittleHistory, and what `Recomputer.recompute` raises.
    """
    began = [hit(each).since_us for each in home.ledger.incidents(model.name) if each.status == "open"]
    before = evolve(question, now_us=min([question.now_us, *began]))
    return case_of(project, model, home, before, engine=engine, on_step=on_step)
