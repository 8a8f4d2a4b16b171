"""The protobuf messages of `ModelInfer` as questions, and answers as its messages.

There is no null in protobuf but NaN, which stands for it in numbers with a fraction.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from charkha.serving.body import refuse_reasons
from charkha.serving.protocols.inference_messages import ModelInferRequest, ModelInferResponse
from charkha.serving.protocols.raw_tensors import nulls_for_nan, raw_of, text_of, values_of
from charkha.serving.protocols.tensors import (
    FLOATS,
    Question,
    Tensor,
    count_of,
    datatype_of,
    outputs_of,
    wrong,
)
from charkha.serving.refusals import Invalid
from charkha.spec.fields import FieldType

_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_question(request: ModelInferRequest, fields: Mapping[str, FieldType], limit: int) -> Question:
    """Return what is asked. Raises Invalid, Malformed and TooLarge, naming the input."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Invalid(
            f"raw_input_contents: expected one for each of {len(request.inputs)} inputs, got {len(raw)}",
            "raw_input_contents",
        )
    refuse_reasons(request.parameters)
    tensors = list(_tensors(request, fields, limit))
    return Question(request.id, tensors, outputs_of([output.name for output in request.outputs]))


def _tensors(request: ModelInferRequest, fields: Mapping[str, FieldType], limit: int) -> Iterator[Tensor]:
    for number, given in enumerate(request.inputs):
        name, datatype = given.name, datatype_of(given.name, given.datatype, fields)
        count = count_of(name, given.shape, limit)
        if request.raw_input_contents:
            if given.HasField("contents"):
                raise wrong(name, "either contents or raw_input_contents", "both")
            values: Sequence[Any] = values_of(name, datatype, count, request.raw_input_contents[number])
        else:
            values = _contents(given, name, datatype)
        if len(values) != count:
            raise wrong(name, f"{count} values, as its shape says", len(values))
        yield Tensor(name, datatype, values)


def _contents(given: ModelInferRequest.InferInputTensor, name: str, datatype: str) -> Sequence[Any]:
    if datatype not in _CONTENTS:
        raise wrong(name, f"raw_input_contents for {datatype}", "contents")
    for other, _ in given.contents.ListFields():
        if other.name != _CONTENTS[datatype]:
            raise wrong(name, f"{_CONTENTS[datatype]} for {datatype}", other.name)
    values = list(getattr(given.contents, _CONTENTS[datatype]))
    if datatype == "BYTES":
        return [text_of(name, value) for value in values]
    return nulls_for_nan(values) if datatype in FLOATS else values


def write_response(response: ModelInferResponse, tensors: Sequence[Tensor], *, raw: bool) -> ModelInferResponse:
    """Return a response with its outputs; those with a null that protobuf has not are left out."""
    for tensor in tensors:
        encoded = raw_of(tensor)
        if encoded is None:
            continue
        output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=[len(tensor.values)])
        if raw:
            response.raw_output_contents.append(encoded)
        elif tensor.datatype == "BYTES":
            output.contents.bytes_contents.extend(str(value).encode() for value in tensor.values)
        elif tensor.datatype in FLOATS:
            output.contents.fp64_contents.extend(float("nan") if value is None else value for value in tensor.values)
        else:
            output.contents.bool_contents.extend(tensor.values)
    return response
