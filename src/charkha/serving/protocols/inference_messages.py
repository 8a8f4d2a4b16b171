"""The messages of `inference.proto` as classes. `inference.binpb` is that file as protoc compiled it, and the types in
`inference_messages.pyi` are protoc's; `make protocols` makes both anew.

They live in a pool of their own: a client of the protocol in the same process declares messages of the same names. And
there is no code of protoc's, which works with few versions of protobuf.
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_compiled = FileDescriptorSet.FromString(Path(__file__).with_name("inference.binpb").read_bytes())
_pool = DescriptorPool()
_pool.AddSerializedFile(_compiled.file[0].SerializeToString())
DESCRIPTOR = _pool.FindFileByName(_compiled.file[0].name)

globals().update({name: GetMessageClass(found) for name, found in DESCRIPTOR.message_types_by_name.items()})
