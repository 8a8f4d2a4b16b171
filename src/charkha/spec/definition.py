"""The definition's Python file, run; and whatever stops it, worded as a fault at its line."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from attrs import frozen

from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.misuse import misused_word
from charkha.spec.model import Model
from charkha.spec.views import FeatureView

T = TypeVar("T")

# Its own name, so that a definition never hides a module of the same name.
MODULE = "charkha_definition"


@frozen(eq=False)
class Definition:
    """What a Python file makes: its models, and its feature views, used or not. In the order of its lines."""

    models: tuple[Model, ...]
    views: tuple[FeatureView, ...]


def load_definition(file: Path, root: Path) -> Definition:
    """Return what a Python file makes and assigns to its names, whatever those are.

    It may import other files of the project's folder `root`. Raises DefinitionError.
    """
    if not file.is_file():
        remedy = 'Name your Python file in charkha.toml: definition = "definition.py".'
        raise DefinitionError([Fault("charkha.toml, definition", "a Python file", str(file), remedy)])
    with _importing_from(root):
        module = _run(file)
    models = tuple(_made(module, Model))
    if not models:
        remedy = "Assign a ck.Model(…), or a list of them, to a name of the module."
        raise DefinitionError([Fault(file.name, "at least one model", "none", remedy)])
    return Definition(models, tuple(_made(module, FeatureView)))


def _run(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE, file)
    if spec is None or spec.loader is None:
        raise DefinitionError([Fault(file.name, "a file ending in .py", file.suffix or "no ending", "Rename it.")])
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except DefinitionError:
        raise
    except (Exception, SystemExit) as error:
        raise DefinitionError([_fault_of(error, file)]) from error
    return module


def _fault_of(error: BaseException, file: Path) -> Fault:
    """Return what stopped the definition as a fault at the deepest line of the user's own that it went through."""
    found = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        where = f"{Path(error.filename or file).name}, line {error.lineno}"
        return Fault(where, "valid Python", f"{type(error).__name__}: {error.msg}", "Mend that line.")
    own = [step for step in traceback.extract_tb(error.__traceback__) if Path(step.filename).parent == file.parent]
    where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else file.name
    line = f" ({own[-1].line})" if own and own[-1].line else ""
    word = misused_word(error, file.parent) if isinstance(error, TypeError) else None
    remedy = f"Mend that line; help({word}) says what it takes." if word else "Mend that line."
    return Fault(where, f"a line that runs{line}", found, remedy)


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    """Let a definition import its neighbours, and forget them afterwards: another project's may be called the same."""
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in set(sys.modules) - before:
            if _lies_in(sys.modules[name], root):
                del sys.modules[name]


def _lies_in(module: ModuleType, root: Path) -> bool:
    origin = getattr(module, "__file__", None)
    # A virtual environment often lies in the project's folder: what is installed in it stays.
    return origin is not None and Path(origin).is_relative_to(root) and "site-packages" not in Path(origin).parts


def _made(module: ModuleType, kind: type[T]) -> Iterator[T]:
    seen: set[int] = set()
    for value in vars(module).values():
        for candidate in _inside(value):
            if isinstance(candidate, kind) and id(candidate) not in seen:
                seen.add(id(candidate))
                yield candidate


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    else:
        yield value
