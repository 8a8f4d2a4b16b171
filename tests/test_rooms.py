"""The order of the rooms: each imports only those below it, also inside functions; read from the folder listing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import charkha

PACKAGE = Path(charkha.__file__).parent
# From the ground up: a room may import those before it. A room nobody placed here fails the first test.
ORDER = (
    "clock",
    "client",
    "spec",
    "storage",
    "engines",
    "features",
    "bundles",
    "governance",
    "training",
    "serving",
    "monitoring",
    "operations",
    "web",
    "words",
    "cli",
    "__main__",
)
HEAVY = (
    "lightgbm",
    "xgboost",
    "catboost",
    "numba",
    "llvmlite",
    "mlflow",
    "sklearn",
    "pandas",
    "lmdb",
    "sqlalchemy",
    "matplotlib",
    "granian",
)


def rooms() -> list[str]:
    """Return the name of every package and module of Charkha but its `__init__`."""
    folders = [path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))]
    return folders + [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every module of Charkha that code imports, wherever in it; relative imports are not used here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "charkha")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports in full: from charkha.spec.model import …"
            module = str(node.module)
            if module == "charkha":
                yield from (f"charkha.{name.name}" for name in node.names)
            elif module.startswith("charkha."):
                yield module


def imports_of(room: str) -> set[str]:
    """Return the rooms that a room imports."""
    paths = sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    # What `charkha init` copies out is a user's module, not one of the package's.
    own = [path for path in paths if "template" not in path.parts]
    modules = [module for path in own for module in imported(ast.parse(path.read_text("utf-8")))]
    return {([*module.split("."), "charkha"])[1] for module in modules} - {room}


def test_every_room_has_its_place() -> None:
    assert set(rooms()) <= set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_those_below_it(room: str) -> None:
    if room not in rooms():
        pytest.fail(f"the room {room!r} is placed but not there")
    allowed = set(ORDER[: ORDER.index(room)])
    assert imports_of(room) <= allowed, f"{room} may import {sorted(allowed)}"


def test_imports_inside_functions_count() -> None:
    code = (
        "def f():\n    from charkha.cli import main\n    import charkha.web.report\n    from charkha import storage\n"
    )
    assert list(imported(ast.parse(code))) == ["charkha.cli", "charkha.web.report", "charkha.storage"]


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running code."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_importing_charkha_loads_almost_nothing() -> None:
    assert loaded_by("import charkha").isdisjoint({*HEAVY, "polars", "numpy"})


def test_a_client_loads_no_words() -> None:
    assert loaded_by("import charkha as ck\nck.Client, ck.AsyncClient").isdisjoint({*HEAVY, "polars", "numpy"})


def test_a_server_loads_no_traces_that_nobody_asked_for() -> None:
    assert loaded_by("import charkha.serving.worker").isdisjoint({"opentelemetry", "httpx", "sklearn", "mlflow"})


def test_the_words_of_a_definition_load_no_backend() -> None:
    loaded = loaded_by("import charkha as ck\nck.LightGBM, ck.FeatureView")
    assert "polars" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_words_are_what_the_package_offers() -> None:
    from charkha import words

    assert dir(charkha) == sorted([*words.__all__, "AsyncClient", "Client"])
    assert all(getattr(charkha, name) is getattr(words, name) for name in words.__all__)
    with pytest.raises(AttributeError, match="has no word 'FeatureVue'; did you mean 'FeatureView'"):
        _ = charkha.FeatureVue  # type: ignore[attr-defined]
