"""The routes of other servers' protocols in the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from charkha.serving.once import KEY_HEADER, LONGEST_KEY
from charkha.serving.protocols.arrow_bulk import KIND as ARROW
from charkha.serving.protocols.described import ModelMetadata, ServerMetadata
from charkha.serving.protocols.infer_bodies import InferRequest, InferResponse
from charkha.serving.protocols.mlflow_bodies import FORMS, Params
from charkha.serving.protocols.mlflow_scoring import Details, InvocationError, Scores
from charkha.serving.protocols.open_inference import InferenceError, Live, ModelReady, ServerReady
from charkha.serving.protocols.tensors import DATATYPES
from charkha.serving.responses import Error
from charkha.serving.schemas import RowSchema
from charkha.spec.model import Model
from charkha.spec.project import Project

KINDS = (
    *(ServerMetadata, ModelMetadata, Live, ServerReady, ModelReady, InferRequest, InferResponse, InferenceError),
    *(Scores, Details, InvocationError, Params),
)
_REFUSALS = {
    "400": "Not what is taken: the error names the field and says what was expected",
    "404": "No such model, or no version of that name serves",
    "408": "The body came too slowly",
    "413": "More bytes or rows than are taken at once",
    "415": "Another content type, or compressed",
    "429": "More calls than can be answered soon; Retry-After says when to come again",
    "503": "No version serves this model",
    "504": "The call waited longer than its X-Request-Timeout-Ms",
}
ONCE = {
    "name": KEY_HEADER,
    "in": "header",
    "description": "The same key within ten minutes gets the same answer, logged once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}
_MLFLOW = frozenset({"/ping", "/health", "/version", "/invocations"})
_SHARED = {"409": "Several versions share the calls: ask without a version"}


def protocol_paths(project: Project, schemas: Mapping[str, RowSchema]) -> dict[str, Any]:
    """Return the paths of the Open Inference Protocol and of MLflow's."""
    unready = {"503": "Not yet, or no more"}
    paths: dict[str, Any] = {
        "/v2": _get("The server, in the Open Inference Protocol", ServerMetadata),
        "/v2/health/live": _get("Whether the process answers, in the Open Inference Protocol", Live),
        "/v2/health/ready": _get(
            "Whether predictions are answered, in the Open Inference Protocol", ServerReady, unready
        ),
        "/ping": _text("Whether predictions are answered, as MLflow asks", unready),
        "/health": _text("Whether predictions are answered, as MLflow asks", unready),
        "/version": _text("The version of Charkha, as MLflow asks"),
    }
    for name, model in project.models.items():
        paths |= _inference(name, model, schemas[name])
        invoked = _invocations(name, schemas[name])
        paths[f"/v1/models/{name}/invocations"] = {"post": invoked | {"operationId": f"invoke_{name}"}}
        if len(project.models) == 1:
            paths["/invocations"] = {"post": invoked | {"operationId": "invoke"}}
    return paths


def error_of(path: str) -> type:
    """Return what the errors of a path are."""
    if path == "/v2" or path.startswith("/v2/"):
        return InferenceError
    return InvocationError if path in _MLFLOW or path.endswith("/invocations") else Error


def arrow_content() -> dict[str, Any]:
    """Return what says that bulk calls come and go as Arrow streams."""
    return {ARROW: {"schema": {"type": "string", "format": "binary"}}}


def _inference(name: str, model: Model, schema: RowSchema) -> dict[str, Any]:
    inputs = [
        {"name": field, "shape": [1], "datatype": DATATYPES[kind][0], "data": [schema.example[field]]}
        for field, kind in model.request_fields.items()
    ]
    text = (
        "A tensor for each request field, of the shape [n] or [n, 1]; tensors may be binary. Answers score, decision, "
        "id, version and role, or those of them that `outputs` names."
    )
    request = {"schema": {"oneOf": [_ref(InferRequest)]}, "example": {"inputs": inputs}}
    infer = _post(f"Infer {name}", text, request, [InferResponse], InferenceError)
    of_model = f"/v2/models/{name}"
    found: dict[str, Any] = {}
    for path, more in ((of_model, {}), (f"{of_model}/versions/{{version}}", {"parameters": [_VERSION]})):
        shared = _errors(_SHARED, InferenceError) if more else {}
        suffix = "_version" if more else ""
        responses = infer["responses"] | shared
        of = _get(f"What {name} is, in the Open Inference Protocol", ModelMetadata)
        ready = _get(f"Whether {name} answers", ModelReady, {"503": "Not now"})
        for described in (of, ready):
            described["get"]["responses"] |= _errors(_GONE, InferenceError)
        found[path], found[f"{path}/ready"] = more | of, more | ready
        found[f"{path}/infer"] = {
            **more,
            "post": infer | {"operationId": f"infer_{name}{suffix}", "responses": responses},
        }
    return found


def _invocations(name: str, schema: RowSchema) -> dict[str, Any]:
    text = (
        f"MLflow's scoring protocol: {', '.join(FORMS)} or text/csv. Answers the scores; with "
        '`"params": {"details": true}` whole predictions.'
    )
    request = {"schema": _invocation(schema), "example": {"dataframe_records": [dict(schema.example)]}}
    return _post(f"Invoke {name}", text, request, [Scores, Details], InvocationError)


def _invocation(schema: RowSchema) -> dict[str, Any]:
    """Return the schema of a body in JSON: one of the forms, and perhaps params."""
    records = {"type": "array", "items": _ref(schema.row), "minItems": 1, "maxItems": schema.limit}
    columns, count = list(schema.words), len(schema.words)
    row = {"type": "array", "minItems": count, "maxItems": count}
    split = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"enum": columns}, "minItems": count, "uniqueItems": True},
            "data": {"type": "array", "items": row, "minItems": 1, "maxItems": schema.limit},
        },
        "required": ["columns", "data"],
    }
    kinds = {form: split if form == "dataframe_split" else records for form in FORMS}
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {form: kind, "params": _ref(Params)},
                "required": [form],
                "additionalProperties": False,
            }
            for form, kind in kinds.items()
        ]
    }


_GONE = {"404": _REFUSALS["404"]}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}


def _post(summary: str, text: str, request: dict[str, Any], answers: list[type], error: type) -> dict[str, Any]:
    answered = {"200": {"description": "Done", "content": _json({"oneOf": [_ref(answer) for answer in answers]})}}
    return {
        "summary": summary,
        "description": text,
        "parameters": [ONCE],
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": answered | _errors(_REFUSALS, error),
    }


def _get(summary: str, answer: type, others: Mapping[str, str] | None = None) -> dict[str, Any]:
    responses = {"200": "Done", **(others or {})}
    told = {status: {"description": said, "content": _json(_ref(answer))} for status, said in responses.items()}
    return {"get": {"summary": summary, "responses": told}}


def _text(summary: str, others: Mapping[str, str] | None = None) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    responses = {"200": "Done", **(others or {})}
    told = {status: {"description": said, "content": content} for status, said in responses.items()}
    return {"get": {"summary": summary, "responses": told}}


def _errors(said: Mapping[str, str], error: type) -> dict[str, Any]:
    return {status: {"description": text, "content": _json(_ref(error))} for status, text in said.items()}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
