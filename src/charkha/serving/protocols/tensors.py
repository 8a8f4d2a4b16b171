"""Requests and answers as the tensors of the Open Inference Protocol: one for each field, one value for each row.

Here a tensor is its name, its datatype and plain values, however it travelled: as JSON, as bytes or in protobuf.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from attrs import frozen

from charkha.clock import to_datetime
from charkha.serving.refusals import Invalid, TooLarge
from charkha.serving.responses import Prediction
from charkha.spec.fields import FieldType

_INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
# Field type → the datatypes that a tensor of it may have; the first is what the metadata says.
DATATYPES: Mapping[FieldType, tuple[str, ...]] = {
    bool: ("BOOL",),
    int: _INTEGERS,
    float: ("FP64", "FP32", "FP16", *_INTEGERS),
    str: ("BYTES",),
    datetime: ("BYTES", "INT64"),
}
OUTPUTS: dict[str, str] = {"score": "FP64", "decision": "BOOL", "id": "BYTES", "version": "BYTES", "role": "BYTES"}
# Only where they are named: rules as a JSON list, the cause of the fallback, or "" where the model answered.
OPTIONAL: dict[str, str] = {"rules": "BYTES", "fallback": "BYTES"}
FLOATS = ("FP64", "FP32", "FP16")
TIMES = "BYTES with ISO 8601 text, or INT64 with microseconds since 1970 UTC"


@frozen(eq=False)
class Tensor:
    """One field of all rows. values: plain Python, in order; None for null."""

    name: str
    datatype: str
    values: Sequence[Any]


@frozen(eq=False)
class Question:
    """What a client asks. id: its own of the request, "" for none. outputs: the names of those it wants."""

    id: str
    tensors: Sequence[Tensor]
    outputs: Sequence[str]


def wrong(name: str, expected: str, got: object) -> Invalid:
    """Return the refusal of something about the tensor of a name."""
    return Invalid(f"input '{name[:200]}': expected {expected}, got {str(got)[:200]}", name)


def count_of(name: str, shape: Sequence[int], limit: int) -> int:
    """Return how many rows a shape means. Raises Invalid and TooLarge."""
    if len(shape) not in (1, 2) or shape[0] < 1 or tuple(shape[1:]) not in ((), (1,)):
        raise wrong(name, "the shape [n] or [n, 1], one value for each row", list(shape[:8]))
    if shape[0] > limit:
        raise TooLarge("too_many_rows", f"expected at most {limit} rows in a request, got {shape[0]}", name)
    return int(shape[0])


def datatype_of(name: str, datatype: str, fields: Mapping[str, FieldType]) -> str:
    """Return a datatype that the field of a name may have. Raises Invalid."""
    if name not in fields:
        raise wrong(name, f"one of the inputs {', '.join(fields)}", "an unknown name")
    allowed = DATATYPES[fields[name]]
    if datatype not in allowed:
        raise wrong(name, f"the datatype {' or '.join(allowed)}", repr(datatype))
    return datatype


def rows_of(fields: Mapping[str, FieldType], tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Return tensors as rows by field, their values not checked yet. Raises Invalid where tensors do not fit together.

    Each must have passed `datatype_of` and `count_of`.
    """
    columns: dict[str, Sequence[Any]] = {}
    for tensor in tensors:
        if tensor.name in columns:
            raise wrong(tensor.name, "each input once", "it twice")
        columns[tensor.name] = _as_times(tensor) if fields[tensor.name] is datetime else tensor.values
    missing = [name for name in fields if name not in columns]
    if missing:
        raise wrong(missing[0], "a tensor for every request field", f"none for {', '.join(missing)}")
    first, count = tensors[0].name, len(tensors[0].values)
    for name, values in columns.items():
        if len(values) != count:
            raise wrong(name, f"as many rows as input '{first}' has, {count}", len(values))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _as_times(tensor: Tensor) -> Sequence[Any]:
    return tensor.values if tensor.datatype == "BYTES" else [_moment(tensor.name, each) for each in tensor.values]


def _moment(name: str, micros: int | None) -> datetime | None:
    try:
        return None if micros is None else to_datetime(micros)
    except OverflowError:
        raise wrong(name, "microseconds since 1970 of a year from 1 to 9999", micros) from None


def outputs_of(wanted: Sequence[str]) -> Sequence[str]:
    """Return the names of the outputs that are wanted, OUTPUTS where none is named. Raises Invalid."""
    for name in wanted:
        if name not in OUTPUTS and name not in OPTIONAL:
            expected = ", ".join((*OUTPUTS, *OPTIONAL))
            raise Invalid(f"outputs: expected some of {expected}, got {name[:200]!r}", "outputs")
    return list(dict.fromkeys(wanted)) or list(OUTPUTS)


def output_tensors(each: Sequence[Prediction], wanted: Sequence[str]) -> Iterator[Tensor]:
    """Yield the answers as tensors, the wanted ones in their order. wanted: of `outputs_of`."""
    for name in wanted:
        if name == "rules":
            yield Tensor(name, OPTIONAL[name], [msgspec.json.encode(prediction.rules).decode() for prediction in each])
        elif name == "fallback":
            yield Tensor(name, OPTIONAL[name], [prediction.fallback or "" for prediction in each])
        else:
            yield Tensor(name, OUTPUTS[name], [getattr(prediction, name) for prediction in each])


def version_of(each: Sequence[Prediction]) -> str:
    """Return the version that answered; with several, "": the output `version` says it of each row."""
    versions = {prediction.version for prediction in each}
    return versions.pop() if len(versions) == 1 else ""
