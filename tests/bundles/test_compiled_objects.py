"""The machine code is made once, found again by every process, and loaded without Numba."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_bundle import make

from charkha.bundles.predictor import RuntimeMissing
from charkha.bundles.trees import objects


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(objects, "_folders", lambda: [tmp_path / "none" / "such", tmp_path])
    return tmp_path


def test_a_server_loads_it_without_numba(tmp_path: Path) -> None:
    objects.build()
    (tmp_path / "state").write_bytes(make().state)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from charkha.bundles.predictor import load_predictor\n"
        f"p = load_predictor('lightgbm', pathlib.Path({str(tmp_path / 'state')!r}).read_bytes(), 'compiled')\n"
        "p.predict(np.zeros((100, 3)))\n"
        "assert not {'lightgbm', 'numba', 'sklearn', 'scipy'} & sys.modules.keys(), sorted(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_where_nothing_was_built_it_says_how_to(folder: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"make them: .* -m charkha\.bundles\.trees\.objects"):
        objects.kernels.__wrapped__()


def test_without_numba_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_name", lambda: None)
    with pytest.raises(RuntimeMissing, match=r"Install charkha\[fast\]"):
        objects._compile()
    with pytest.raises(RuntimeMissing, match="found none"):
        objects.kernels.__wrapped__()


def test_it_is_kept_in_the_first_folder_that_may_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "none").write_text("a file where a folder should be")
    monkeypatch.setattr("charkha.bundles.trees.kernels.compiled", lambda: iter([("walk", "symbol", b"code")]))
    objects._compile()
    assert [path.name for path in folder.iterdir() if path.suffix == ".bin"] == [objects._name()]
    monkeypatch.setattr(objects, "_folders", lambda: [folder / "none" / "such"])
    with pytest.raises(RuntimeMissing, match="expected a folder that may be written"):
        objects._compile()


def test_another_source_or_version_is_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = objects._name()
    assert objects._name() == before
    monkeypatch.setattr(objects, "version", lambda name: "0.0")
    other = objects._name()
    monkeypatch.undo()
    changed = tmp_path / "kernels.py"
    changed.write_text(objects.KERNELS.read_text() + "\n")
    monkeypatch.setattr(objects, "KERNELS", changed)
    assert len({before, other, objects._name()}) == 3


def test_what_is_not_whole_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charkha.bundles.trees.kernels.compiled", lambda: iter([("walk", "symbol", b"code")]))
    objects._compile()
    (file,) = folder.rglob("*.bin")
    whole = file.read_bytes()
    assert objects._found() == whole[objects.DIGEST_BYTES :]
    for damage in (b"", whole[:-1], whole[:-1] + b"?"):
        file.write_bytes(damage)
        with pytest.raises(RuntimeMissing, match="found none"):
            objects.kernels.__wrapped__()
    objects._compile()
    assert file.read_bytes() == whole


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert objects._folders() == [objects.HERE / "__pycache__"]
