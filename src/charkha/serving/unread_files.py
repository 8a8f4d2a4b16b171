"""Which files a server that starts does not read: its state is built once, and a file that came later may be broken.

Holding a file to its contract reads all of it. So what was found of a batch is kept in the home, and only a batch with
another stamp, or another contract, is read when the server starts again.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import msgspec

from charkha.features.batches import Batch, Stamp, batches_of
from charkha.features.contracts import violations
from charkha.features.declared import DataError
from charkha.features.expressions import plain_value
from charkha.features.file_marks import FileMark, file_marks
from charkha.features.rows import FileBreaksContract
from charkha.spec.sources import Source
from charkha.storage.log import Log


class Judged(msgspec.Struct, frozen=True):
    """What was found of a batch. stamp: when it was looked at. broken: the sentence to say; None when it is kept."""

    stamp: Stamp
    contract: str
    broken: str | None


Found = dict[str, dict[str, Judged]]  # source → batch → what was found of it


def unread_files(sources: Mapping[str, Source], root: Path, log: Log, memory: Path) -> list[str]:
    """Return a sentence for each file that breaks the contract of its source, and for each source that is unreadable.

    memory: the file that keeps what was found; it is written anew. Files that were set aside, or released as they are,
    are passed over.
    """
    before, found, said = _remembered(memory), Found(), list[str]()
    for source in sources.values():
        if source.contract is None or source.data is None:
            continue
        try:
            found[source.name] = dict(_judged(source, root, log, before.get(source.name, {})))
        except (DataError, OSError) as error:  # a file may be gone by the time it is looked at
            said.append(str(error) if isinstance(error, DataError) else f"source {source.name!r}: {error}")
        said += [each.broken for each in found.get(source.name, {}).values() if each.broken]
    if found != before:
        _remember(memory, found)
    return said


def _judged(source: Source, root: Path, log: Log, before: Mapping[str, Judged]) -> Iterator[tuple[str, Judged]]:
    marks, contract = file_marks(log, source.name), _contract_digest(source)
    for batch in batches_of(source, root):
        if _is_decided(batch, marks.get(batch.name)):
            continue
        known, stamp = before.get(batch.name), batch.stamp()
        if known is None or (known.stamp, known.contract) != (stamp, contract):
            broken = violations(batch.read(), source)
            said = str(FileBreaksContract(source, batch.name, broken)) if broken else None
            known = Judged(stamp, contract, said)
        yield batch.name, known


def _is_decided(batch: Batch, mark: FileMark | None) -> bool:
    return mark is not None and (mark.mark == "aside" or batch.is_released(mark))


def _contract_digest(source: Source) -> str:
    """Return what changes with what a batch of a source must keep."""
    plain = attrs.asdict(source, value_serializer=plain_value)
    return hashlib.blake2b(repr(plain).encode(), digest_size=16).hexdigest()


def _remembered(memory: Path) -> Found:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Found)
    except (OSError, msgspec.DecodeError):  # a memory that is lost costs one more reading
        return {}


def _remember(memory: Path, found: Found) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    partial = memory.with_suffix(f".{os.getpid()}")
    partial.write_bytes(msgspec.json.encode(found))
    os.replace(partial, memory)
