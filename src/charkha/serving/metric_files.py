"""The files in which workers count for each other: in memory, for the disk of the home may be full.

Each worker maps its own (prometheus_client's format), and whoever answers a scrape reads those of all. A page of a
mapped file for which there is no room kills the process that touches it (SIGBUS), so room is taken before it is mapped;
where there is none, a worker counts in vain. What the dead have counted is folded into one file.
"""

import fcntl
import logging
import mmap
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from charkha.storage.locks import locked, locked_if_free

_PREFIX = "charkha-metrics-"
_OWNED = "server.lock"  # held by the server as long as it lives
_FOLDED = "0"  # in the place of a process id
_FIRST_BYTES = 1 << 16
_MOST_BESIDE_KEY = 64  # bytes of an entry besides its key
_SOME_FILES = 16
_logger = logging.getLogger("charkha.serving")


class MetricFolder:
    """A server's own folder, until it is removed; those that killed servers left go when the next one is made.

    Raises OSError where there is no place for it.
    """

    def __init__(self, places: Iterable[Path] = (Path("/dev/shm"), Path(tempfile.gettempdir()))) -> None:
        places = [place for place in places if place.is_dir()]
        for place in places:
            _sweep(place)
        self.path = _roomy(places)
        unseen = self.path / "unseen"  # until it is held: who sweeps must not find it free
        self._owned = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._owned, fcntl.LOCK_EX)
        unseen.rename(self.path / _OWNED)

    def fold(self, living: Collection[int]) -> None:
        """Put what all processes but the living have counted into one file; what they had at the moment goes."""
        with locked(self.path):
            for kind in ("counter", "histogram"):
                dead = [path for path in self.path.glob(f"{kind}_*.db") if _process(path) not in {*map(str, living)}]
                if [_process(path) for path in dead] not in ([], [_FOLDED]):
                    _fold(dead, self.path / f"{kind}_{_FOLDED}.db")
            for path in self.path.glob("gauge_*.db"):
                if int(_process(path)) not in living:
                    path.unlink()

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._owned)


class CountsFile(MmapedDict):
    """Values by key in a mapped file whose room was taken before; in memory that nobody reads where there is none."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # as it is called
        try:
            _begin(Path(filename))
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            _logger.warning("there is no room to count in, so metrics lack what this worker does: %s", error)
            super().__init__(_private_file(), read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        while self._used + len(key.encode()) + _MOST_BESIDE_KEY > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        size = 2 * self._capacity
        try:
            _lengthen(self._f.fileno(), size)
        except OSError as error:
            _logger.warning("there is no room to count in, so metrics lack what this worker does: %s", error)
            kept = self._m[:]
            self._f.close()
            self._f = open(_private_file(), "a+b")  # noqa: SIM115  # is closed with the values
            os.write(self._f.fileno(), kept)
            _lengthen(self._f.fileno(), size)
        self._m = mmap.mmap(self._f.fileno(), size)
        self._capacity = size


class Together(MultiProcessCollector):
    """What all workers have counted; not while it is folded."""

    def collect(self) -> Iterable[Metric]:
        """Read the files of all."""
        if not os.path.isdir(self._path):
            return []
        with locked(Path(self._path), shared=True):
            found: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return found


def _sweep(place: Path) -> None:
    """Remove the folders of servers that were killed."""
    for folder in place.glob(f"{_PREFIX}*"):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / _OWNED).exists():
            continue
        with locked_if_free(folder / _OWNED) as free:
            if free:
                shutil.rmtree(folder, ignore_errors=True)


def _roomy(places: Iterable[Path]) -> Path:
    """Make a folder in the first place that has room for some files. Raises OSError of the last one."""
    failed: OSError = FileNotFoundError("expected /dev/shm or a temporary folder to count in, found neither")
    for place in places:
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        except OSError as error:
            failed = error
            continue
        try:
            (folder / "room").write_bytes(bytes(_SOME_FILES * _FIRST_BYTES))
            (folder / "room").unlink()
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            failed = error
        else:
            return folder
    raise failed


def _process(path: Path) -> str:
    return path.stem.rsplit("_", 1)[1]


def _fold(paths: Iterable[Path], into: Path) -> None:
    sums: defaultdict[str, float] = defaultdict(float)
    for path in paths:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            sums[key] += value
    folded = MmapedDict(_private_file())  # type: ignore[no-untyped-call]
    for key, value in sums.items():
        folded.write_value(key.rstrip(), value, 0.0)  # type: ignore[no-untyped-call]
    scratch = into.with_suffix(".folding")
    scratch.write_bytes(folded._m[:])
    folded.close()  # type: ignore[no-untyped-call]
    scratch.replace(into)
    for path in paths:
        if path != into:
            path.unlink()


def _begin(path: Path) -> None:
    """Make a file of zeros, or none: one that was cut short would be read by others. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        try:
            _lengthen(file.fileno(), _FIRST_BYTES)
        except OSError:
            path.unlink()
            raise


def _lengthen(descriptor: int, size: int) -> None:
    """Make a file at least so long, of zeros that are written: a hole would have no room. Raises OSError."""
    while (missing := size - os.fstat(descriptor).st_size) > 0:
        os.write(descriptor, bytes(missing))


def _private_file() -> str:
    """Return the path of a new file in memory, that of this process and no other."""
    return f"/proc/self/fd/{os.memfd_create('charkha-metrics')}"
