"""The definition's Python file, run; and whatever stops it, worded as a fault at its line."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from attrs import frozen

from charkha.spec.drills import DeclaredIncident
from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.misuse import misused_word
from charkha.spec.model import Model
from charkha.spec.texts import OnDisk, Taken, Texts
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


def load_definition(file: Path, root: Path, texts: Texts | None = None) -> Definition:
    """Return what a Python file makes and assigns to its names, whatever those are.

    It may import other files of the project's folder `root`. texts: where all of them are read; None for the disk.
    Raises DefinitionError.
    """
    texts = texts or OnDisk()
    if not texts.has(file):
        remedy = 'Name your Python file in charkha.toml: definition = "definition.py".'
        raise DefinitionError([Fault("charkha.toml, definition", "a Python file", str(file), remedy)])
    with _importing_from(root, texts):
        module = _run(file, texts)
    models = tuple(_made(module, Model))
    if not models:
        remedy = "Assign a ck.Model(…), or a list of them, to a name of the module."
        raise DefinitionError([Fault(file.name, "at least one model", "none", remedy)])
    return Definition(models, tuple(_made(module, FeatureView)), tuple(_made(module, DeclaredIncident)))


class _FromSource(SourceFileLoader):
    """Compiles a file's text each time: what Python keeps compiled is told by length and whole seconds alone."""

    def __init__(self, fullname: str, path: str, texts: Texts) -> None:
        super().__init__(fullname, path)
        self._texts = texts

    def get_data(self, path: str) -> bytes:
        """Return a file's text."""
        return self._texts.read(Path(path))

    def get_code(self, fullname: str) -> CodeType:
        """Return the file's code, compiled from its text."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@frozen
class _TakenModules:
    """Finds the modules of a project's folder among the texts that were taken, whatever is on the disk by now."""

    root: Path
    taken: Taken

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is, None for one that is not the project's."""
        for folder in map(Path, [str(self.root)] if path is None else path):
            place = folder / fullname.rpartition(".")[2]
            package, module = place / "__init__.py", place.with_name(f"{place.name}.py")
            for file, inside in ((package, [str(place)]), (module, None)):
                if self.taken.has(file):
                    loader = _FromSource(fullname, str(file), self.taken)
                    return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=inside)
            if self.taken.has_folder(place):
                spaces = ModuleSpec(fullname, None, is_package=True)
                spaces.submodule_search_locations = [str(place)]
                return spaces
        return None


def _run(file: Path, texts: Texts) -> ModuleType:
    if file.suffix not in SOURCE_SUFFIXES:
        raise DefinitionError([Fault(file.name, "a file ending in .py", file.suffix or "no ending", "Rename it.")])
    loader = _FromSource(MODULE, str(file), texts)
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
def _importing_from(root: Path, texts: Texts) -> Iterator[None]:
    """Let a definition import its neighbours, and forget them afterwards: another project's may be called the same."""

    def finder(path: str) -> FileFinder:
        if not _is_own(Path(path), root):
            raise ImportError
        return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (from_source, SOURCE_SUFFIXES))

    from_source: Any = partial(_FromSource, texts=OnDisk() if isinstance(texts, Taken) else texts)
    taken = [_TakenModules(root, texts)] if isinstance(texts, Taken) else []
    before = set(sys.modules)
    sys.path_importer_cache.pop(str(root), None)
    sys.path_hooks.insert(0, finder)
    sys.path.insert(0, str(root))
    sys.meta_path[:0] = taken
    try:
        yield
    finally:
        for finder_of_taken in taken:
            sys.meta_path.remove(finder_of_taken)
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
