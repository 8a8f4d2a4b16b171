"""The bodies of `infer` over HTTP: a JSON document, and after it, where a client wishes, tensors as bytes.

`Inference-Header-Content-Length` says how long the document is; each input with `binary_data_size` then has its values
after it, in the order of the inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from charkha.serving.body import refuse_reasons
from charkha.serving.calls import JSON, Call, Headers, Reply
from charkha.serving.protocols.documents import as_kind, decode_document
from charkha.serving.protocols.raw_tensors import raw_of, values_of
from charkha.serving.protocols.tensors import Question, Tensor, count_of, datatype_of, outputs_of, wrong
from charkha.serving.refusals import Malformed, Refused
from charkha.spec.fields import FieldType

LENGTH_HEADER = "inference-header-content-length"
KINDS = frozenset({"", "application/json", "application/octet-stream"})
_BINARY: Headers = (("content-type", "application/octet-stream"),)


class InferInput(msgspec.Struct, frozen=True):
    """One tensor of a request; `data` is flat, or one array for each row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, Any] = {}


class InferRequestedOutput(msgspec.Struct, frozen=True):
    """One output that is wanted."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, frozen=True):
    """What is asked: a tensor for every request field of the model."""

    inputs: list[InferInput]
    id: str = ""
    outputs: list[InferRequestedOutput] = []
    parameters: dict[str, Any] = {}


class InferOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tensor of an answer. Its values are in `data`, or follow the document, `binary_data_size` bytes of them."""

    name: str
    datatype: str
    shape: list[int]
    data: Sequence[Any] | UnsetType = UNSET
    parameters: dict[str, Any] = {}


class InferResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer. `model_version` is there where one version answered all rows."""

    model_name: str
    outputs: list[InferOutput]
    model_version: str = ""
    id: str = ""


def read_infer(
    call: Call, body: bytes, fields: Mapping[str, FieldType], limit: int
) -> tuple[Question, Sequence[str] | None]:
    """Return what is asked, and the outputs that are wanted as bytes; None for all. Raises Refused."""
    length = _header_length(call, body)
    document, rest = (body, b"") if length is None else (body[:length], body[length:])
    request = as_kind(decode_document(document), InferRequest)
    refuse_reasons(request.parameters)
    tensors = list(_tensors(request, rest, fields, limit))
    question = Question(request.id, tensors, outputs_of([output.name for output in request.outputs]))
    if request.parameters.get("binary_data_output") is True:
        return question, None
    return question, [output.name for output in request.outputs if output.parameters.get("binary_data") is True]


def _header_length(call: Call, body: bytes) -> int | None:
    if LENGTH_HEADER not in call.headers:
        return None
    given = call.headers.get(LENGTH_HEADER) or ""
    if not given.isascii() or not given.isdecimal() or len(given) > 9 or int(given) > len(body):
        said = f"expected the length of the JSON document, at most that of the body ({len(body)}), got {given[:80]!r}"
        raise Refused(400, "invalid_header", said, LENGTH_HEADER)
    return int(given)


def _tensors(request: InferRequest, rest: bytes, fields: Mapping[str, FieldType], limit: int) -> Iterator[Tensor]:
    place = 0
    for given in request.inputs:
        name, datatype = given.name, datatype_of(given.name, given.datatype, fields)
        count, size = count_of(name, given.shape, limit), given.parameters.get("binary_data_size")
        if size is None:
            yield Tensor(name, datatype, _in_json(given, count))
            continue
        if given.data is not UNSET:
            raise wrong(name, "either data or binary_data_size", "both")
        if type(size) is not int or not 0 <= size <= len(rest) - place:
            raise wrong(name, f"a binary_data_size of at most {len(rest) - place}, the bytes that are left", size)
        yield Tensor(name, datatype, values_of(name, datatype, count, rest[place : place + size]))
        place += size
    if place != len(rest):
        raise Malformed(f"body: expected nothing after the last tensor, got {len(rest) - place} bytes more")


def _in_json(given: InferInput, count: int) -> Sequence[Any]:
    if given.data is UNSET:
        raise wrong(given.name, "data, or binary_data_size and the bytes after the document", "neither")
    values: list[Any] = given.data
    if any(isinstance(value, list) for value in values):
        if not all(isinstance(value, list) and len(value) == 1 for value in values):
            raise wrong(given.name, "flat data, or one array of one value for each row", "others")
        values = [value[0] for value in values]
    if len(values) != count:
        raise wrong(given.name, f"{count} values, as its shape says", len(values))
    _refuse_wide(given, values)
    return values


def _refuse_wide(given: InferInput, values: Sequence[Any]) -> None:
    """Refuse what is no integer of the datatype; the field's own type is looked at later."""
    sign, _, bits = given.datatype.partition("INT")
    if not bits:
        return
    low, high = (0, 2 ** int(bits)) if sign else (-(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1))
    for value in values:
        if value is not None and (type(value) is not int or not low <= value < high):
            raise wrong(given.name, f"whole numbers of {given.datatype}, or null", repr(value))


def infer_reply(response: InferResponse, tensors: Sequence[Tensor], binary: Sequence[str] | None) -> Reply:
    """Return the answer. response: without its outputs. binary: those that go as bytes, where bytes can say them."""
    outputs, parts = [], []
    for tensor in tensors:
        shape = [len(tensor.values)]
        raw = raw_of(tensor) if binary is None or tensor.name in binary else None
        if raw is None:
            outputs.append(InferOutput(tensor.name, tensor.datatype, shape, tensor.values))
        else:
            parts.append(raw)
            outputs.append(InferOutput(tensor.name, tensor.datatype, shape, parameters={"binary_data_size": len(raw)}))
    document = msgspec.json.encode(msgspec.structs.replace(response, outputs=outputs))
    if not parts:
        return Reply(200, document, JSON)
    length = (LENGTH_HEADER, str(len(document)))
    return Reply(200, b"".join((document, *parts)), (*_BINARY, length))
