"""Calls over gRPC whose messages are bytes by chance, or a good one changed: no answer may be the server's fault.

Meanwhile streams are held open that never send a message: the server must end them, and answer the others.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from attrs import Factory, define
from fuzz_requests import changed_bytes

from charkha.serving.protocols.inference_messages import ModelInferRequest, ModelMetadataRequest

SERVICE = "/inference.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "Nothing")
GOOD_SECONDS = 10.0
HELD = 64
# Until a server has ended a stream without a message, at the latest.
HELD_SECONDS = 15.0
_FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
_CONTENTS = {"INT64": "int64_contents", "FP64": "fp64_contents", "BOOL": "bool_contents"}


@define
class GrpcTally:
    """What came of the calls. findings: in words, each with the number of its call."""

    sent: int = 0
    codes: Counter[str] = Factory(Counter)
    findings: list[str] = Factory(list)


def fuzz_grpc(address: str, document: Mapping[str, Any], seed: int, seconds: float) -> GrpcTally:
    """Call for so long, one call after the other. document: OpenAPI, whose examples are changed."""
    examples, tally, until = list(messages_of(document)), GrpcTally(), time.monotonic() + seconds
    with grpc.insecure_channel(address) as channel, _held(channel, tally):
        while time.monotonic() < until:
            _call(channel, examples, random.Random(f"{seed}:{tally.sent}"), tally)
    return tally


@contextmanager
def _held(channel: grpc.Channel, tally: GrpcTally) -> Iterator[None]:
    """Hold streams open without a message while the block goes on, and find those that the server does not end."""
    end, began = threading.Event(), time.monotonic()

    def never() -> Iterator[bytes]:
        end.wait()
        yield from ()

    method: Any = channel.stream_unary(f"{SERVICE}/ModelInfer")
    calls = [method.future(never()) for _ in range(HELD)]
    try:
        yield
        while not all(call.done() for call in calls) and time.monotonic() < began + HELD_SECONDS:
            time.sleep(0.1)
        tally.findings += [f"stream {number} is held" for number, call in enumerate(calls) if not call.done()]
    finally:
        for call in calls:
            call.cancel()
        end.set()


def _call(channel: grpc.Channel, examples: list[bytes], dice: random.Random, tally: GrpcTally) -> None:
    name, tally.sent = dice.choice((*METHODS, "ModelInfer", "ModelInfer")), tally.sent + 1
    message = dice.choice(
        (dice.choice(examples), changed_bytes(dice.choice(examples), dice), dice.randbytes(dice.choice((0, 9, 999))))
    )
    method: Any = channel.unary_unary(f"{SERVICE}/{name}")
    try:
        method(message, timeout=GOOD_SECONDS)
        code = grpc.StatusCode.OK
    except grpc.RpcError as error:
        code = error.code()
        if code in _FAULTS or code == grpc.StatusCode.DEADLINE_EXCEEDED:
            tally.findings.append(
                f"call {tally.sent - 1} of {name}: {code.name}: {error.details()}; sent {message[:300]!r}"
            )
    tally.codes[code.name] += 1


def messages_of(document: Mapping[str, Any]) -> list[bytes]:
    """Return messages that are answered, by the examples that a document has of the same over HTTP."""
    found = [b""]
    for path, operations in document["paths"].items():
        if path.startswith("/v2/models/") and path.endswith("/infer") and "{" not in path:
            example = operations["post"]["requestBody"]["content"]["application/json"]["example"]
            name = path.split("/")[3]
            found += [ModelMetadataRequest(name=name).SerializeToString(), infer_message(name, example["inputs"])]
    return found


def infer_message(name: str, inputs: list[dict[str, Any]]) -> bytes:
    """Return the request over gRPC that these inputs are over HTTP."""
    request = ModelInferRequest(model_name=name)
    for given in inputs:
        tensor = request.inputs.add(name=given["name"], datatype=given["datatype"], shape=given["shape"])
        values = [
            json.dumps(value).strip('"').encode() if given["datatype"] == "BYTES" else value for value in given["data"]
        ]
        getattr(tensor.contents, _CONTENTS.get(given["datatype"], "bytes_contents")).extend(values)
    return request.SerializeToString()
