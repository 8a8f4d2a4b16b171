"""Bundles on disk: one folder per version, whole or not there at all, every byte under a digest."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import msgspec

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.manifest import Manifest, manifest_from_json, manifest_to_json

MANIFEST, ESTIMATOR, CARD, DIGESTS = "manifest.json", "estimator.bin", "CARD.md", "digests.json"
KEPT = 16

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class UnknownBundle(LookupError):
    """No such version on disk."""

    def __init__(self, model: str, version: str, folder: Path, known: list[str]) -> None:
        self.model, self.version = model, version
        have = ", ".join(known) if known else "none"
        super().__init__(f"expected version {version!r} of model {model!r} under {folder}, found {have}.")


class BundleCorrupt(RuntimeError):
    """A file of a bundle is missing or is not what was written."""

    def __init__(self, path: Path, expected: str, found: str) -> None:
        self.path, self.expected, self.found = path, expected, found
        super().__init__(
            f"{path}: expected {expected}, found {found}. "
            "Restore the folder from a copy, or roll back to another version."
        )


class BundleStore:
    """The bundles under a folder. Versions never change once written, so what was read is kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self._bundles: dict[tuple[str, str], Bundle] = {}
        self._manifests: dict[tuple[str, str], Manifest] = {}

    def write(self, manifest: Manifest, state: bytes, card: str) -> str:
        """Write a version, whole or not at all, and return its digest.

        A version is never changed: when it is there already, it stays as it is and its digest is returned, so that a
        training which is carried out again after a crash is harmless.
        """
        files = {MANIFEST: manifest_to_json(manifest), ESTIMATOR: state, CARD: card.encode()}
        target = self.path(manifest.model, manifest.version)
        with _only_writer(target.parent):
            if not target.exists():
                _write_folder(target, files)
        return self.digest(manifest.model, manifest.version)

    def read(self, model: str, version: str) -> Bundle:
        """Return a version, its bytes checked. Raises UnknownBundle, BundleCorrupt, UnknownEstimator."""
        with self._lock:
            bundle = self._bundles.get((model, version))
            if bundle is None:
                bundle = load_bundle(self._read_manifest(model, version), self._bytes(model, version, ESTIMATOR))
                self._bundles[model, version] = bundle
                while len(self._bundles) > KEPT:
                    del self._bundles[next(iter(self._bundles))]
        return bundle

    def manifest(self, model: str, version: str) -> Manifest:
        """Return the manifest of a version. Raises UnknownBundle and BundleCorrupt."""
        with self._lock:
            return self._read_manifest(model, version)

    def card(self, model: str, version: str) -> str:
        """Return the model card of a version, in Markdown. Raises UnknownBundle and BundleCorrupt."""
        return self._bytes(model, version, CARD).decode()

    def digest(self, model: str, version: str) -> str:
        """Return the digest of a version: SHA-256 over the digests of its files. Raises UnknownBundle."""
        return _digest((self._known(model, version) / DIGESTS).read_bytes())

    def path(self, model: str, version: str) -> Path:
        """Return the folder of a version, there or not. Raises ValueError for a name that is not safe in a path."""
        for name in (model, version):
            if not _NAME.fullmatch(name):
                raise ValueError(f"expected letters, digits, '_', '-' and '.' in the name of a bundle, got {name!r}")
        return self.folder / model / version

    def versions(self, model: str) -> list[str]:
        """Return the versions of a model on disk, "v2" before "v10"."""
        folder = self.path(model, "any").parent
        found = [path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
        return sorted(found, key=_natural)

    def _known(self, model: str, version: str) -> Path:
        path = self.path(model, version)
        if not path.is_dir():
            raise UnknownBundle(model, version, self.folder, self.versions(model))
        return path

    def _read_manifest(self, model: str, version: str) -> Manifest:
        if (model, version) not in self._manifests:
            self._manifests[model, version] = manifest_from_json(self._bytes(model, version, MANIFEST))
        return self._manifests[model, version]

    def _bytes(self, model: str, version: str, name: str) -> bytes:
        folder = self._known(model, version)
        expected: dict[str, str] = msgspec.json.decode((folder / DIGESTS).read_bytes(), type=dict[str, str])
        content = (folder / name).read_bytes()
        if _digest(content) != expected[name]:
            raise BundleCorrupt(folder / name, f"SHA-256 {expected[name]}", _digest(content))
        return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    digests = msgspec.json.encode({name: _digest(content) for name, content in files.items()}, order="sorted")
    for name, content in {**files, DIGESTS: digests}.items():
        _write_file(partial / name, content)
    os.rename(partial, target)
    _sync(target.parent)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
