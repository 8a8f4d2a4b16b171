"""Which word of Charkha a definition called wrongly, as the definition itself writes that word."""

import re
from collections.abc import Mapping
from pathlib import Path
from traceback import walk_tb
from types import FrameType, ModuleType
from typing import Any

# How Python begins when arguments do not fit: "quantile() missing …", "Source.__init__() got an unexpected …".
_CALLED = re.compile(r"(\w+)(?:\.__init__)?\(\) ")


def misused_word(error: TypeError, folder: Path) -> str | None:
    """Return the word that a file in `folder` called with what it does not take, such as "ck.quantile"; or None."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    own = [place for place, frame in enumerate(frames) if Path(frame.f_code.co_filename).parent == folder]
    if not own:
        return None
    called = frames[own[-1] + 1 :]
    said = _CALLED.match(str(error))
    # Arguments that do not fit stop a call before it has a frame; what fails inside it has one.
    name = _name_of(called[0]) if called else said[1] if said else None
    return None if name is None else _as_written(name, frames[own[-1]].f_globals)


def _name_of(frame: FrameType) -> str | None:
    """Return what a frame of Charkha's own was called as: a function, or the type that it makes."""
    made = frame.f_locals.get("self")
    if made is not None:
        return type(made).__name__ if _is_ours(type(made).__module__) else None
    return frame.f_code.co_name if _is_ours(frame.f_globals.get("__name__")) else None


def _as_written(name: str, names: Mapping[str, Any]) -> str | None:
    """Return a word of Charkha as a module with these names writes it; None for what is no word of Charkha."""
    if name in names:
        return name if _is_ours(getattr(names[name], "__module__", None)) else None
    for alias, value in names.items():
        if isinstance(value, ModuleType) and value.__name__ == "charkha" and name in dir(value):
            return f"{alias}.{name}"
    return None


def _is_ours(module: str | None) -> bool:
    return module is not None and module.startswith("charkha.")
