"""What servers and models say of themselves in the Open Inference Protocol, over HTTP and gRPC alike."""

from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from typing import Any

import msgspec

from charkha.serving.protocols.tensors import DATATYPES, OPTIONAL, OUTPUTS, TIMES
from charkha.serving.refusals import Refused
from charkha.serving.service import Service, UnknownModel

EXTENSIONS = ("binary_tensor_data",)


class ServerMetadata(msgspec.Struct, frozen=True):
    """Who serves."""

    name: str
    version: str
    extensions: tuple[str, ...]


class TensorMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input or output; its shape is [-1], any number of rows. parameters: what else its values may be."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}


class ModelMetadata(msgspec.Struct, frozen=True):
    """A model: the versions that answer, a tensor for each request field, and what comes back."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class UnknownVersion(Refused):
    """A version that does not answer for a model now."""

    def __init__(self, model: str, asked: str, serving: list[str]) -> None:
        said = f"model '{model}': expected one of the versions that serve, {serving}, got {asked[:200]!r}"
        super().__init__(404, "unknown_version", said, "version")


class SharedCalls(Refused):
    """A version that answers some entities only, asked for by name."""

    def __init__(self, model: str, serving: list[str]) -> None:
        said = (
            f"model '{model}': expected no version, for {serving} share its calls and which of them answers goes by "
            "the entity. Ask without a version"
        )
        super().__init__(409, "shared_calls", said, "version")


class Described:
    """What there is to know of a service. ends: whether its server is about to end."""

    def __init__(self, service: Service, ends: Callable[[], bool]) -> None:
        self._service, self._ends = service, ends

    def server(self) -> ServerMetadata:
        """Return who serves."""
        return ServerMetadata("charkha", version("charkha"), EXTENSIONS)

    def server_ready(self) -> bool:
        """Say whether predictions are answered, and will be in a moment."""
        return self._service.standing.ready().ready and not self._ends()

    def model(self, name: str, asked: str = "") -> ModelMetadata:
        """Return what a model is. Raises UnknownModel and, for a version that does not serve, UnknownVersion."""
        serving = self.versions(name, asked)
        fields = self._service.project.models[name].request_fields
        inputs = [
            TensorMetadata(field, DATATYPES[kind][0], [-1], {"times": TIMES} if kind is datetime else {})
            for field, kind in fields.items()
        ]
        outputs = [TensorMetadata(output, datatype, [-1]) for output, datatype in (OUTPUTS | OPTIONAL).items()]
        return ModelMetadata(name, serving, "charkha", inputs, outputs)

    def model_ready(self, name: str, asked: str = "") -> bool:
        """Say whether a model answers. Raises as `model`."""
        self.versions(name, asked)
        return name in self._service.line_ups()

    def versions(self, name: str, asked: str = "") -> list[str]:
        """Return the versions that answer for a model, the champion first. Raises as `model`."""
        if name not in self._service.project.models:
            raise UnknownModel(name[:200], list(self._service.project.models))
        lineup = self._service.line_ups().get(name)
        serving = [] if lineup is None else [player.version for player in lineup.answering]
        if asked and asked not in serving:
            raise UnknownVersion(name, asked, serving)
        return serving

    def require_only(self, name: str, asked: str) -> None:
        """Raise SharedCalls unless the version that is asked for answers all calls of a model; also as `model`."""
        serving = self.versions(name, asked)
        if asked and len(serving) > 1:
            raise SharedCalls(name, serving)
