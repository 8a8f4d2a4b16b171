"""What Charkha is compared with, installed from PyPI in an environment of its own that is kept between runs."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from processes import last_words, run
from suite import PeerMissing

INSTALL_SECONDS = 600.0


def environment_of(name: str, environment: Path, packages: Sequence[str], version: str, log: Path) -> Path:
    """Return the Python of an environment with the newest of some packages that are to be had.

    version: as for `version_in`. Raises PeerMissing.
    """
    python = environment / "bin" / "python"
    environment.parent.mkdir(parents=True, exist_ok=True)
    uv = str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        _try([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)], log)
    upgraded = _try([uv, "pip", "install", "--quiet", "--upgrade", "--python", str(python), *packages], log)
    if version_in(python, version) is None:
        raise PeerMissing(f"not measured: {name} cannot be installed here. {upgraded}".strip())
    return python


def version_in(python: Path, version: str) -> str | None:
    """Return what an environment says of its version, None where it cannot be used.

    version: Python that imports all that is needed, and prints it.
    """
    try:
        found = subprocess.run([python, "-c", version], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _try(command: list[str], log: Path) -> str:
    """Run a command; return what it said where it failed, for an older installation may still do."""
    try:
        status = run(command, log, timeout_seconds=INSTALL_SECONDS).status
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return last_words(log) if status else ""
