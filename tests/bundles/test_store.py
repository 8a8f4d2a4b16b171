"""Bundles on disk: whole or absent, checked byte by byte, never a pickle, and lean to load."""

import ast
import multiprocessing
import os
import pickletools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_bundle import Made, make

import charkha
from charkha.bundles import store as store_module
from charkha.bundles.manifest import manifest_to_json
from charkha.bundles.store import KEPT, BundleCorrupt, BundleStore, UnknownBundle

FILES = ["CARD.md", "digests.json", "estimator.bin", "manifest.json"]


@pytest.fixture
def made() -> Made:
    return make()


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "bundles")


def write(store: BundleStore, made: Made, version: str = "v1") -> str:
    return store.write(msgspec.structs.replace(made.manifest, version=version), made.state, "# late\n")


def test_what_is_written_is_what_is_read(store: BundleStore, made: Made) -> None:
    digest = write(store, made)
    bundle = BundleStore(store.folder).read("late", "v1")
    assert bundle.manifest == made.manifest == store.manifest("late", "v1")
    assert np.isfinite(bundle.score(made.features)).all()
    assert store.card("late", "v1") == "# late\n"
    assert sorted(path.name for path in store.path("late", "v1").iterdir()) == FILES
    assert store.verify("late", "v1") == store.digest("late", "v1") == digest


def test_the_digest_is_of_the_content(tmp_path: Path, made: Made) -> None:
    digests = [write(BundleStore(tmp_path / name), made) for name in "ab"]
    other = BundleStore(tmp_path / "c").write(made.manifest, made.state, "# another card\n")
    assert digests[0] == digests[1] != other
    assert len(other) == 64


def test_a_version_stays_as_it_was_written_first(store: BundleStore, made: Made) -> None:
    digest = write(store, made)
    again = store.write(msgspec.structs.replace(made.manifest, created_us=9), b"another state", "another card")
    assert again == digest
    assert BundleStore(store.folder).manifest("late", "v1") == made.manifest


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "empty", "remove"])
def test_any_damage_is_noticed(store: BundleStore, made: Made, name: str, damage: str) -> None:
    write(store, made)
    path = store.path("late", "v1") / name
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "truncate": content[:middle],
        "append": content + b" x",
        "empty": b"",
    }
    path.write_bytes(changed[damage]) if damage in changed else path.unlink()
    with pytest.raises(BundleCorrupt, match="Restore the folder from a copy") as caught:
        BundleStore(store.folder).verify("late", "v1")
    assert name == "digests.json" or caught.value.path.name == name
    if name != "CARD.md":  # nobody serves the card
        with pytest.raises(BundleCorrupt):
            BundleStore(store.folder).read("late", "v1")
    with pytest.raises(BundleCorrupt):
        write(store, made)


def test_a_version_renamed_by_hand_is_noticed(store: BundleStore, made: Made) -> None:
    write(store, made)
    shutil.copytree(store.path("late", "v1"), store.path("late", "v2"))
    with pytest.raises(BundleCorrupt, match="expected the manifest of this version, found that of 'late' 'v1'"):
        store.manifest("late", "v2")


def test_an_unknown_version_names_those_there_are(store: BundleStore, made: Made) -> None:
    with pytest.raises(UnknownBundle, match=r"version 'v1' of model 'late' under .*, found none"):
        store.read("late", "v1")
    write(store, made)
    write(store, made, "v10")
    for ask in (store.read, store.manifest, store.card, store.digest, store.verify):
        with pytest.raises(UnknownBundle, match=r"expected version 'v3' of model 'late' under .*, found v1, v10"):
            ask("late", "v3")


def test_versions_are_in_the_order_of_their_numbers(store: BundleStore, made: Made) -> None:
    assert store.versions("late") == []
    for version in ("v10", "v2", "v1"):
        write(store, made, version)
    assert store.versions("late") == ["v1", "v2", "v10"]
    assert store.versions("other") == []


@pytest.mark.parametrize("name", ["..", "../late", "a/b", "", ".", ".hidden", "/etc", "a\0b", "-x"])
def test_names_never_leave_the_folder(store: BundleStore, made: Made, name: str) -> None:
    for ask in (store.path, store.read, store.manifest):
        with pytest.raises(ValueError, match="in the name of a bundle, got"):
            ask(name, "v1")
        with pytest.raises(ValueError, match="in the name of a bundle, got"):
            ask("late", name)
    with pytest.raises(ValueError, match="in the name of a bundle, got"):
        write(store, made, name)


@pytest.mark.parametrize("moment", ["_write_file", "rename"])
def test_a_write_that_dies_leaves_nothing_to_be_found(
    store: BundleStore, made: Made, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os if moment == "rename" else store_module, moment, die)
        with pytest.raises(KeyboardInterrupt):
            write(store, made)
    assert store.versions("late") == []
    with pytest.raises(UnknownBundle):
        store.read("late", "v1")
    write(store, made)
    assert sorted(path.name for path in (store.folder / "late").iterdir()) == [".lock", "v1"]


def _write_in_another_process(folder: Path, made: Made) -> str:
    return write(BundleStore(folder), made)


def test_processes_that_write_the_same_version_agree(store: BundleStore, made: Made) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        digests = pool.starmap(_write_in_another_process, [(store.folder, made)] * 4)
    assert len(set(digests)) == 1
    assert store.verify("late", "v1") == digests[0]


def test_reads_are_kept_but_not_for_ever(store: BundleStore, made: Made) -> None:
    write(store, made)
    first = store.read("late", "v1")
    assert store.read("late", "v1") is first
    assert store.manifest("late", "v1") is first.manifest
    for number in range(2, KEPT + 2):
        write(store, made, f"v{number}")
        store.read("late", f"v{number}")
    assert store.read("late", f"v{KEPT + 1}") is store.read("late", f"v{KEPT + 1}")
    assert store.read("late", "v1") is not first


def test_threads_share_one_copy(store: BundleStore, made: Made) -> None:
    write(store, made)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.read("late", "v1"), range(32)))
    assert len({id(bundle) for bundle in found}) == 1


def test_no_file_of_a_bundle_is_a_pickle(store: BundleStore, made: Made) -> None:
    write(store, made)
    for path in store.path("late", "v1").iterdir():
        content = path.read_bytes()
        content.decode("utf-8")
        assert not _is_pickle(content), path


def test_pickles_would_be_found() -> None:
    import pickle

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert _is_pickle(pickle.dumps({"a": [1, "x"]}, protocol))


def _is_pickle(content: bytes) -> bool:
    try:
        return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(content))
    except Exception:
        return False


def test_no_room_that_serving_needs_can_pickle() -> None:
    package = Path(charkha.__file__).parent
    loaders = {"pickle", "cPickle", "joblib", "cloudpickle", "dill", "marshal", "shelve"}
    for path in (file for room in ("bundles", "governance") for file in (package / room).rglob("*.py")):
        assert not loaders & _imports(path), path


def _imports(path: Path) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    plain = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}


def test_a_server_that_loads_a_bundle_stays_lean(store: BundleStore, made: Made, tmp_path: Path) -> None:
    write(store, made)
    made.features.head(100).write_parquet(tmp_path / "features.parquet")
    code = f"""
import sys, pathlib, polars
from charkha.bundles.store import BundleStore
bundle = BundleStore(pathlib.Path({str(store.folder)!r})).read("late", "v1")
features = polars.read_parquet({str(tmp_path / "features.parquet")!r})
scores = bundle.score(features)
bundle.decide(scores, features.with_columns(carrier=polars.lit("ZZ"), distance=polars.lit(1.0)))
for heavy in ("lightgbm", "sklearn", "scipy", "mlflow", "pandas", "matplotlib", "charkha.training", "sqlalchemy"):
    assert heavy not in sys.modules, heavy
print(*map(float.hex, scores.tolist()))
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    scores = store.read("late", "v1").score(made.features.head(100))
    assert [float.fromhex(word) for word in ran.stdout.split()] == scores.tolist()


def test_the_card_and_manifest_are_text_for_people(store: BundleStore, made: Made) -> None:
    write(store, made)
    assert (store.path("late", "v1") / "manifest.json").read_bytes() == manifest_to_json(made.manifest)
    assert (store.path("late", "v1") / "CARD.md").read_text() == "# late\n"
