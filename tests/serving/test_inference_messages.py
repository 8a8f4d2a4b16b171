"""What is checked in of the protocol's messages is what `inference.proto` says, and what its clients know."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from grpc_tools import protoc
from tritonclient.grpc import service_pb2

from charkha.serving.protocols import inference_messages
from charkha.serving.server import GrpcMissing, _grpc_address

FOLDER = Path(inference_messages.__file__).parent


def test_what_is_checked_in_was_compiled_from_the_text(tmp_path: Path) -> None:
    compiled, options = tmp_path / "out.binpb", [f"-I{FOLDER}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["protoc", *options, f"--descriptor_set_out={compiled}", "inference.proto"]) == 0
    assert FileDescriptorSet.FromString(compiled.read_bytes()) == FileDescriptorSet.FromString(
        (FOLDER / "inference.binpb").read_bytes()
    ), "compile it anew: make protocols"
    assert all(
        issubclass(getattr(inference_messages, name), Message)
        for name in inference_messages.DESCRIPTOR.message_types_by_name
    )


def fields(file: FileDescriptorProto) -> set[tuple[str, str, int, int, int]]:
    """Return message, name, number, type and label of every field."""
    waiting, found = [(message.name, message) for message in file.message_type], set()
    while waiting:
        name, message = waiting.pop()
        found |= {(name, each.name, each.number, int(each.type), int(each.label)) for each in message.field}
        waiting += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]
    return found


def test_every_field_is_one_that_tritons_clients_know() -> None:
    ours, theirs = FileDescriptorProto(), FileDescriptorProto()
    inference_messages.DESCRIPTOR.CopyToProto(ours)
    service_pb2.DESCRIPTOR.CopyToProto(theirs)
    assert ours.package == theirs.package == "inference"
    assert len(fields(ours)) > 50
    assert fields(ours) <= fields(theirs)


def test_grpc_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charkha.serving.server.find_spec", lambda name: None)
    with pytest.raises(GrpcMissing, match=r"pip install charkha\[grpc\]"):
        _grpc_address("127.0.0.1", 0)
