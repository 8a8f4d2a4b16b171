"""Values that the processes of a machine remember together for a while: the newest, in bounded space."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from charkha.storage.lmdb_online import LmdbOnline

_VALUE, _AGE, _BYTES = b"v", b"t", b"b"
# What one write forgets besides what it must: twice what it brings, so that what is old goes away and no write is slow.
_TIDIED = 2
# How much larger than its values the file may grow: pages that are half full, and those of the write in progress.
_ROOM = 4


class RecentValues:
    """Values by key in one folder, shared by all processes that open it; safe to use from several threads.

    seconds: how long a value is remembered. most_bytes: of keys and values together; beyond it the oldest are forgotten
    sooner. A machine that is started anew remembers nothing.
    """

    def __init__(self, folder: Path, seconds: float, most_bytes: int = 256 << 20) -> None:
        self._store = LmdbOnline(folder, map_bytes=most_bytes * _ROOM)
        self._window_us, self._most_bytes = int(seconds * 1e6), most_bytes

    def get(self, key: bytes, now_us: int) -> bytes | None:
        """Return the value of a key that was put within the window, else None."""
        with self._store.read() as reader:
            found = reader.get(_VALUE + key)
        if found is None or _time_of(found) <= now_us - self._window_us:
            return None
        return found[8:]

    def put(self, values: Mapping[bytes, bytes], now_us: int) -> None:
        """Remember values from now on, instead of those that their keys had; all of them, or none."""
        stamp = now_us.to_bytes(8)
        with self._store.write() as writer:
            size = int.from_bytes(writer.get(_BYTES) or b"")
            for key, value in values.items():
                former = writer.get(_VALUE + key)
                if former is not None:
                    writer.delete(_AGE + former[:8] + key)
                    size -= len(key) + len(former)
                writer.put_many([(_VALUE + key, stamp + value), (_AGE + stamp + key, b"")])
                size += len(key) + 8 + len(value)
            for aged, key, held in self._to_forget(writer, size, _TIDIED * len(values), now_us - self._window_us):
                writer.delete(_VALUE + key)
                writer.delete(aged)
                size -= held
            writer.put(_BYTES, size.to_bytes(8))

    def _to_forget(self, reader: "_Ordered", size: int, few: int, since_us: int) -> list[tuple[bytes, bytes, int]]:
        """Return of the oldest values what is too much, and a few of those that are too old: entry, key and size."""
        found: list[tuple[bytes, bytes, int]] = []
        for aged, _ in reader.scan(_AGE):
            key = aged[9:]
            if size <= self._most_bytes and (_time_of(aged[1:]) > since_us or len(found) >= few):
                break
            held = len(key) + len(reader.get(_VALUE + key) or b"")
            found.append((aged, key, held))
            size -= held
        return found

    def close(self) -> None:
        """Close the files."""
        self._store.close()


class _Ordered(Protocol):
    """What a transaction of the store offers to whoever looks for the oldest."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...


def _time_of(found: bytes) -> int:
    return int.from_bytes(found[:8])
