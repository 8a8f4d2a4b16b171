"""Tensors as bytes, little-endian, as the binary extension over HTTP and the raw contents over gRPC carry them.

Text is its length as four bytes and then itself, in UTF-8. There is no null but NaN, which stands for it.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from charkha.serving.protocols.tensors import FLOATS, Tensor, wrong
from charkha.serving.refusals import Malformed

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_LENGTH = struct.Struct("<I")


def values_of(name: str, datatype: str, count: int, raw: bytes) -> list[Any]:
    """Return the values of so many rows. Raises Invalid and Malformed, naming the tensor."""
    if datatype == "BYTES":
        return _texts(name, count, raw)
    dtype = _DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise wrong(name, f"{count * dtype.itemsize} bytes for {count} values of {datatype}", len(raw))
    values: list[Any] = np.frombuffer(raw, dtype).tolist()
    if datatype == "BOOL":
        return _booleans(name, values)
    return nulls_for_nan(values) if datatype in FLOATS else values


def nulls_for_nan(values: Sequence[float]) -> list[float | None]:
    """Return numbers with NaN as null."""
    return [None if value != value else value for value in values]  # noqa: PLR0124  # only NaN is not itself


def _booleans(name: str, values: Sequence[int]) -> list[bool]:
    if any(value > 1 for value in values):
        raise wrong(name, "bytes of 0 or 1 for BOOL", max(values))
    return [value == 1 for value in values]


def _texts(name: str, count: int, raw: bytes) -> list[str]:
    texts: list[str] = []
    place = 0
    for _ in range(count):
        end = place + _LENGTH.size
        if end > len(raw):
            raise wrong(name, f"{count} texts, each after its length", f"{len(texts)}")
        end += _LENGTH.unpack_from(raw, place)[0]
        if end > len(raw):
            raise wrong(name, "as many bytes of a text as its length says", len(raw) - place - _LENGTH.size)
        texts.append(text_of(name, raw[place + _LENGTH.size : end]))
        place = end
    if place != len(raw):
        raise wrong(name, f"{count} texts and nothing after them", f"{len(raw) - place} bytes more")
    return texts


def text_of(name: str, encoded: bytes) -> str:
    """Return text that is UTF-8. Raises Malformed."""
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"input '{name}': expected text in UTF-8, got other bytes: {error.reason}", name) from None


def raw_of(tensor: Tensor) -> bytes | None:
    """Return the bytes of a tensor; None where a value is null that has no bytes. A null number is NaN."""
    if tensor.datatype == "BYTES":
        encoded = [str(value).encode() for value in tensor.values]
        return b"".join(_LENGTH.pack(len(each)) + each for each in encoded)
    if tensor.datatype in FLOATS:
        numbers = [np.nan if value is None else value for value in tensor.values]
        return np.array(numbers, _DTYPES[tensor.datatype]).tobytes()
    if any(value is None for value in tensor.values):
        return None
    return np.array(tensor.values, _DTYPES[tensor.datatype]).tobytes()
