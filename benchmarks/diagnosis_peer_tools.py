"""Other monitoring tools, each in an environment of its own that is kept between runs, and the work they are given."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from features_child import Outcome, ended
from peer_environment import environment_of, version_in

SCRIPT = Path(__file__).with_name("diagnosis_peers_script.py")


@frozen
class Tool:
    """A tool. packages: of PyPI. imports: what has to be there for it to work."""

    name: str
    packages: Sequence[str]
    imports: str

    @property
    def key(self) -> str:
        """The name of its distribution."""
        return self.name.lower()

    @property
    def ready(self) -> str:
        """Python that imports what is needed, and prints the version."""
        return f"import importlib.metadata, {self.imports}; print(importlib.metadata.version({self.key!r}))"

    def python(self, cache: Path, log: Path) -> Path:
        """Return the Python of its environment. Raises PeerMissing."""
        return environment_of(self.name, cache / "peers" / self.key, self.packages, self.ready, log)

    def version(self, python: Path) -> str:
        """Return its name and version."""
        return f"{self.name} {version_in(python, self.ready)}"


# With pandas 3 the one cannot be imported; and the other does not say that it needs statsmodels.
EVIDENTLY = Tool("Evidently", ("evidently", "pandas<3", "pyarrow"), "evidently.presets, pyarrow")
NANNYML = Tool("NannyML", ("nannyml", "statsmodels", "pandas<3", "pyarrow"), "nannyml, pyarrow")
RIVER = Tool("River", ("river", "pandas", "pyarrow"), "river.drift, pandas, pyarrow")


def with_tool(python: Path, work: str, log: Path, **arguments: Any) -> Outcome:
    """Have a tool do a piece of work. Raises Failed, subprocess.TimeoutExpired."""
    return ended([str(python), str(SCRIPT), json.dumps({"work": work, **arguments})], log)
