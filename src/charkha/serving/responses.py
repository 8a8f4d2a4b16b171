"""What the routes answer, as types: encoded to JSON here, described in the OpenAPI document."""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from charkha.bundles.manifest import RuleSpec
from charkha.clock import to_iso
from charkha.features.feed import Pushed
from charkha.serving.prediction_log import Cause, Role
from charkha.serving.reasons import Reason
from charkha.serving.refusals import Refusal
from charkha.serving.scoring import Answers

_Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer. Keep the id: what became true is reported under it."""

    id: _Id
    score: Annotated[float | None, Meta(description="A probability for binary models, else the value; null for NaN.")]
    decision: Annotated[bool | None, Meta(description="By the rules, else by the threshold; null for regression.")]
    rules: Annotated[list[str], Meta(description="The rules that held.")]
    model: str
    version: str
    role: Annotated[Role, Meta(description="Which role of the version answered.")]
    fallback: Annotated[Cause | None, Meta(description="Why the fallback answered; null where the model did.")]
    time: _Time
    reasons: Annotated[
        list[Reason] | UnsetType, Meta(description="What moved the score most; only where ?reasons= asks for them.")
    ] = UNSET
    rule_reasons: Annotated[
        dict[str, str] | UnsetType,
        Meta(description="Of the rules that held, what the definition says of them; only where ?reasons= asks."),
    ] = UNSET
    logged: Annotated[bool, Meta(description="False for one that could not be logged; left out where it was.")] = True


class Predictions(msgspec.Struct, frozen=True):
    """The answers to `rows`, in their order."""

    predictions: list[Prediction]


class EventsTaken(msgspec.Struct, frozen=True):
    """What became of pushed rows; they are logged and applied. Rows that were there already are `duplicates`."""

    accepted: int
    corrections: int
    duplicates: int
    known: _Time


class LabelsTaken(msgspec.Struct, frozen=True):
    """How many labels were logged. A label of an id that already has one is a correction."""

    accepted: int


class ServedRule(msgspec.Struct, frozen=True):
    """A rule of a version. Of those that hold the first that is not in shadow decides, in the order given."""

    rule: str
    decision: bool
    shadow: bool
    reason: Annotated[str, Meta(description="What the definition says of it; empty where it says nothing.")]


class ServedVersion(msgspec.Struct, frozen=True):
    """One version at work."""

    version: str
    role: Role
    share: float
    rules: list[ServedRule]


class ServedModel(msgspec.Struct, frozen=True):
    """A model of the project, and what serves it; `problem` is what of its deployment could not be loaded."""

    model: str
    task: str
    purpose: str
    owner: str
    generation: int
    versions: list[ServedVersion]
    killed: Annotated[str | None, Meta(description="Why the model is on its fallback; null while it answers.")]
    problem: str | None


class Models(msgspec.Struct, frozen=True):
    """The models of the project."""

    models: list[ServedModel]


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Ready(msgspec.Struct, frozen=True):
    """Whether predictions are answered; with status 503 when they are not.

    ending: the server was told to stop, and goes on answering for a moment. champions: model → version or null.
    notices: what whoever operates the server should know, though it is no model's problem. Champions, problems and
    notices are left out where API keys are asked for and none is shown.
    """

    ready: bool
    champions: dict[str, str | None] | UnsetType = UNSET
    problems: dict[str, str] | UnsetType = UNSET
    ending: bool = False
    notices: list[str] | UnsetType = UNSET


class Error(msgspec.Struct, frozen=True):
    """Why a request was refused; `field` is a path such as `rows[2].distance`."""

    error: Refusal


def predictions(model: str, answers: Answers) -> list[Prediction]:
    """Return the answers of a call as the client reads them."""
    time, logged = to_iso(answers.time_us), answers.logged
    return [
        Prediction(
            id_,
            score if math.isfinite(score) else None,
            decision,
            list(rules),
            model,
            version,
            role,
            cause,
            time,
            logged=logged,
        )
        for id_, score, decision, rules, version, role, cause in zip(
            answers.ids,
            answers.scores.tolist(),
            answers.decisions,
            answers.rules,
            answers.versions,
            answers.roles,
            answers.causes,
            strict=True,
        )
    ]


def served_rules(rules: Sequence[RuleSpec]) -> list[ServedRule]:
    """Return the rules of a version as clients read them."""
    return [ServedRule(rule.name, rule.decide, rule.shadow, rule.reason) for rule in rules]


def events_taken(pushed: Pushed) -> EventsTaken:
    """Return what became of pushed rows as the client reads it."""
    return EventsTaken(pushed.accepted, pushed.corrections, pushed.duplicates, to_iso(pushed.known_us))
