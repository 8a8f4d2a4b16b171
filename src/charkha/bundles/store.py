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
from typing import TypeVar

import msgspec

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.manifest import Manifest, manifest_from_json, manifest_to_json
from charkha.storage.flush import flush

MANIFEST, ESTIMATOR, CARD, DIGESTS = "manifest.json", "estimator.bin", "CARD.md", "digests.json"
KEPT = 16

Key = tuple[str, str]
T = TypeVar("T")

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
    """The bundles under a folder. Versions never change once written, so what was read is kept in memory.

    May be used from several threads, and several processes may write to one folder.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: made when the first bundle is written."""
        self.folder = folder
        self._lock = Lock()
        self._bundles: dict[Key, Bundle] = {}
        self._manifests: dict[Key, Manifest] = {}

    def write(self, manifest: Manifest, state: bytes, card: str) -> str:
        """Write a version, whole or not at all, and return its digest.

        A version never changes: when it is there already it stays as it was written first, and its digest is returned.
        So a training that is carried out again after a crash does no harm. Raises ManifestError, and BundleCorrupt
        when what is there is damaged.
        """
        files = {MANIFEST: manifest_to_json(manifest), ESTIMATOR: state, CARD: card.encode()}
        target = self.path(manifest.model, manifest.version)
        with _only_writer(target.parent):
            if not target.exists():
                _write_folder(target, files)
        return self.verify(manifest.model, manifest.version)

    def read(self, model: str, version: str) -> Bundle:
        """Return a version, its bytes checked. Raises UnknownBundle, BundleCorrupt, ManifestError, UnknownEstimator."""
        with self._lock:
            if (model, version) not in self._bundles:
                loaded = {name: self._bytes(model, version, name) for name in (MANIFEST, ESTIMATOR)}
                manifest = self._checked(model, version, loaded[MANIFEST])
                _keep(self._manifests, (model, version), manifest)
                digest = _digest_of(loaded, self.path(model, version) / DIGESTS)
                _keep(self._bundles, (model, version), load_bundle(manifest, loaded[ESTIMATOR], digest))
            return self._bundles[model, version]

    def manifest(self, model: str, version: str) -> Manifest:
        """Return the manifest of a version. Raises UnknownBundle, BundleCorrupt and ManifestError."""
        with self._lock:
            return self._manifest(model, version)

    def card(self, model: str, version: str) -> str:
        """Return the model card of a version, in Markdown. Raises UnknownBundle and BundleCorrupt."""
        return self._bytes(model, version, CARD).decode()

    def verify(self, model: str, version: str) -> str:
        """Check every file of a version against the digests, and return its own: the SHA-256 over those.

        Raises UnknownBundle and BundleCorrupt.
        """
        for name in (MANIFEST, ESTIMATOR, CARD):
            self._bytes(model, version, name)
        return self.digest(model, version)

    def digest(self, model: str, version: str) -> str:
        """Return the digest of a version, its files unchecked. Raises UnknownBundle and BundleCorrupt."""
        return _digest(_content(self._known(model, version) / DIGESTS))

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

    def _manifest(self, model: str, version: str) -> Manifest:
        if (model, version) not in self._manifests:
            manifest = self._checked(model, version, self._bytes(model, version, MANIFEST))
            _keep(self._manifests, (model, version), manifest)
        return self._manifests[model, version]

    def _checked(self, model: str, version: str, content: bytes) -> Manifest:
        manifest = manifest_from_json(content)
        if (manifest.model, manifest.version) != (model, version):
            found = f"that of {manifest.model!r} {manifest.version!r}"
            raise BundleCorrupt(self.path(model, version) / MANIFEST, "the manifest of this version", found)
        return manifest

    def _bytes(self, model: str, version: str, name: str) -> bytes:
        """Return a file's content, checked against its digest."""
        folder = self._known(model, version)
        expected = _digests(folder / DIGESTS).get(name)
        content = _content(folder / name)
        if expected != _digest(content):
            raise BundleCorrupt(folder / name, f"SHA-256 {expected}", _digest(content))
        return content


def _keep(kept: dict[Key, T], key: Key, value: T) -> None:
    """Keep a value, and forget the one kept first when there are too many."""
    if key not in kept and len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[key] = value


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleCorrupt(path, "a file", "none") from None


def _digests(path: Path) -> dict[str, str]:
    content = _content(path)
    try:
        return msgspec.json.decode(content, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise BundleCorrupt(path, "JSON of a digest per file", str(error)) from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _canonical(digests: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(digests, order="sorted")


def _digest_of(loaded: Mapping[str, bytes], digests: Path) -> bytes:
    """Return the digest of a version by the bytes that were loaded of it. digests: of what was not, the card."""
    found = {name: _digest(content) for name, content in loaded.items()}
    return bytes.fromhex(_digest(_canonical({**_digests(digests), **found})))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, also by death
        yield


def _write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write the files where nobody looks, then give the folder its name; only the one writer may come here."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    digests = _canonical({name: _digest(content) for name, content in files.items()})
    for name, content in {**files, DIGESTS: digests}.items():
        _write_file(partial / name, content)
    os.rename(partial, target)
    flush(target.parent)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
