"""The definition's Python file, run; and whatever stops it, worded as a fault at its line."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import TypeVar

from attrs import frozen

from charkha.spec.drills import DeclaredIncident
from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.misuse import misused_word
from charkha.spec.model import Model
from charkha.spec.views import FeatureView

T = TypeVar("T")

# Its own name, so that a definition never hides a module of the same name.
MODULE = "charkha_definition"


@frozen(eq=False)
class Definition:
    """What a Python file makes: its models, its feature views, used or not, and incidents for drills.

    In the order of its lines.
    """

    models: tuple[Model, ...]
    views: tuple[FeatureView, ...]
    incidents: tuple[DeclaredIncident, ...] = ()


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
    return Definition(models, tuple(_made(module, FeatureView)), tuple(_made(module, DeclaredIncident)))


class _FromSource(SourceFileLoader):
    """Loads a file as it is now: what Python keeps compiled is told by length and whole seconds alone."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the file's code, compiled from its text."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _run(file: Path) -> ModuleType:
    if file.suffix not in SOURCE_SUFFIXES:
        raise DefinitionError([Fault(file.name, "a file ending in .py", file.suffix or "no ending", "Rename it.")])
    loader = _FromSource(MODULE, str(file))
    module = module_from_spec(ModuleSpec(MODULE, loader, origin=str(file)))
    module.__file__ = str(file)
    try:
        loader.exec_module(module)
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

    def finder(path: str) -> FileFinder:
        if not _is_own(Path(path), root):
            raise ImportError
        return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))

    before = set(sys.modules)
    sys.path_importer_cache.pop(str(root), None)
    sys.path_hooks.insert(0, finder)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        sys.path_hooks.remove(finder)
        for path in [path for path in sys.path_importer_cache if _is_own(Path(path), root)]:
            del sys.path_importer_cache[path]
        for name in set(sys.modules) - before:
            if _lies_in(sys.modules[name], root):
                del sys.modules[name]


def _lies_in(module: ModuleType, root: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and _is_own(Path(origin), root)


def _is_own(path: Path, root: Path) -> bool:
    """Say whether a path is the project's: a virtual environment often lies in its folder, and is not."""
    return path.is_relative_to(root) and "site-packages" not in path.parts


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
