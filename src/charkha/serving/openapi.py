"""The OpenAPI document: one path per model and source, with the types that the definition gives them."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from attrs import frozen

from charkha.serving.body import REASONS
from charkha.serving.contracts import EventsRefused
from charkha.serving.deadline import TIMEOUT_HEADER
from charkha.serving.label_schemas import LabelSchema
from charkha.serving.protocols.openapi import KINDS, ONCE, arrow_content, protocol_paths
from charkha.serving.reasons import MOST_REASONS
from charkha.serving.responses import (
    Error,
    EventsTaken,
    Health,
    LabelsTaken,
    Models,
    Prediction,
    Predictions,
    Ready,
)
from charkha.serving.schemas import RowSchema
from charkha.spec.model import Model
from charkha.spec.project import Project

_TEMPLATE = "#/components/schemas/{name}"
_REFUSALS = {
    "400": "Not JSON, or JSON that says two things",
    "404": "Nothing of this name",
    "408": "The body came too slowly",
    "413": "More bytes or rows than are taken at once",
    "415": "Not application/json",
    "422": "A field is missing, unknown, of the wrong type, or not what its contract says: the error names it",
}
_BUSY = {"429": "More calls than can be answered soon; Retry-After says when to come again"}
_LATE = {"504": "The call waited longer than its X-Request-Timeout-Ms"}
_NO_ANSWER = {"503": "No version serves this model, or its log has no room", **_LATE}
_NOT_NOW = {"503": "The server's clock is far behind the newest row, or the log has no room", **_LATE}
_TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "description": "How long the client waits (ms): a call that has waited longer is not worked on.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
_WHY = {
    "name": REASONS,
    "in": "query",
    "description": "How many features that moved its score most each answer names. Without Idempotency-Key.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST_REASONS},
}
_UNEXPLAINED = {"409": "Reasons were asked of an estimator whose scores cannot be taken apart"}


@frozen(eq=False)
class Schemas:
    """What every route takes, by the name of its model or source."""

    requests: Mapping[str, RowSchema]
    events: Mapping[str, RowSchema]
    labels: Mapping[str, LabelSchema]

    def all(self) -> list[RowSchema]:
        """Return every one of them."""
        return [*self.requests.values(), *self.events.values(), *self.labels.values()]


def openapi_document(project: Project, schemas: Schemas) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1), ready to be written as JSON."""
    taken = [kind for schema in schemas.all() for kind in (schema.row, schema.rows)]
    answered = [Prediction, Predictions, EventsTaken, LabelsTaken, Models, Health, Ready, Error, EventsRefused, *KINDS]
    _, components = msgspec.json.schema_components([*taken, *answered], ref_template=_TEMPLATE)
    return {
        "openapi": "3.1.0",
        "info": {"title": project.name, "version": version("charkha"), "description": _description(project)},
        "paths": {
            **_model_paths(project, schemas),
            **_source_paths(project, schemas),
            **_common_paths(),
            **protocol_paths(project, schemas.requests),
        },
        "components": {"schemas": components},
    }


def _description(project: Project) -> str:
    models = ", ".join(project.models)
    return f"Predictions of {models}. Send events as they happen, and labels when the truth is known."


def _model_paths(project: Project, schemas: Schemas) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for name, model in project.models.items():
        paths[f"/v1/models/{name}/predict"] = _predict(model, schemas.requests[name])
        paths[f"/v1/models/{name}/labels"] = _labels(model, schemas.labels[name])
    return paths


def _predict(model: Model, schema: RowSchema) -> dict[str, Any]:
    answer = {"oneOf": [_ref(Prediction.__name__), _ref(Predictions.__name__)]}
    text = (
        f"{model.task.capitalize()} model of {model.owner}, for {model.purpose}. Send one object, or `rows`: an array "
        f"of at most {schema.limit}. Features of the entities are looked up; the prediction is made as of now."
    )
    paths = _post(f"Predict {model.name}", text, schema, answer, _REFUSALS | _BUSY | _NO_ANSWER | _UNEXPLAINED)
    paths["post"]["parameters"] = [_TIMEOUT, ONCE, _WHY]
    paths["post"]["requestBody"]["content"] |= arrow_content()
    paths["post"]["responses"]["200"]["content"] |= arrow_content()
    return paths


def _labels(model: Model, schema: LabelSchema) -> dict[str, Any]:
    text = (
        "Report what became true of predictions, by their ids. A later label of the same id corrects the earlier one."
    )
    if schema.metrics:
        text += " A row tells its label, business metrics, or both; what it leaves out is not told, and no zero."
    paths = _post(f"Label {model.name}", text, schema, _ref(LabelsTaken.__name__), _REFUSALS | _LATE)
    paths["post"]["parameters"] = [_TIMEOUT]
    return paths


def _source_paths(project: Project, schemas: Schemas) -> dict[str, Any]:
    """Return the paths of the sources that take pushed rows."""
    text = (
        "Push rows. They are known from now on, whatever times they carry. A row that is there already is ignored; "
        "one of the same key with other content is a correction."
    )
    paths: dict[str, Any] = {}
    for name, source in project.sources.items():
        if source.key:
            refusals = _REFUSALS | _BUSY | _NOT_NOW
            pushes = _post(f"Push {name}", text, schemas.events[name], _ref(EventsTaken.__name__), refusals)
            pushes["post"]["parameters"] = [_TIMEOUT]
            if source.contract is not None:
                # Not oneOf: the second is the first, and more.
                either = {"anyOf": [_ref(Error.__name__), _ref(EventsRefused.__name__)]}
                pushes["post"]["responses"]["422"]["content"] = _json(either)
            paths[f"/v1/sources/{name}/events"] = pushes
    return paths


def _common_paths() -> dict[str, Any]:
    return {
        "/v1/models": _get("The models and what serves them", Models.__name__),
        "/healthz": _get("Whether the process answers", Health.__name__),
        "/readyz": _get(
            "Whether predictions are answered", Ready.__name__, {"503": "Not yet, or something is missing"}
        ),
    }


def _post(summary: str, text: str, schema: RowSchema, answer: Any, refusals: Mapping[str, str]) -> dict[str, Any]:
    body = {"oneOf": [_ref(schema.row.__name__), _ref(schema.rows.__name__)]}
    content = {"application/json": {"schema": body, "example": dict(schema.example)}}
    answers = {"200": {"description": "Done", "content": _json(answer)}}
    errors = {
        status: {"description": said, "content": _json(_ref(Error.__name__))} for status, said in refusals.items()
    }
    request = {"required": True, "content": content}
    return {
        "post": {
            "summary": summary,
            "description": text,
            "operationId": summary.lower().replace(" ", "_"),
            "requestBody": request,
            "responses": answers | errors,
        }
    }


def _get(summary: str, answer: str, others: Mapping[str, str] | None = None) -> dict[str, Any]:
    responses = {"200": "Done", **(others or {})}
    described = {status: {"description": said, "content": _json(_ref(answer))} for status, said in responses.items()}
    return {"get": {"summary": summary, "responses": described}}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _TEMPLATE.format(name=name)}
