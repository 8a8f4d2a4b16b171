"""A project: the folder a definition lives in, found from anywhere below it.

`charkha.toml`, or `[tool.charkha]` in `pyproject.toml`, names the project and its definition:

    [project]
    name = "flights"
    definition = "definition.py"   # a Python file that makes one or more ck.Model
    home = ".charkha"              # optional: where logs, state and bundles are kept
    ledger = "${CHARKHA_LEDGER}"   # optional: the ledger's database; secrets come from the environment
    fsync = "never"                # optional: "always" waits for the disk at each append, against power failures
    online_gb = 16                 # optional: how large the online state may grow
    webhook = "https://…"          # optional: who is told of incidents; see `spec.webhooks`
    anchor = "anchors.jsonl"       # optional: where the ledger's head is kept besides; see `spec.anchors`
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from attrs import frozen

from charkha.spec.anchors import ANCHOR_SETTINGS, AnchorPlaces, anchor_faults, anchor_places
from charkha.spec.check import all_sources, all_views, check
from charkha.spec.checks.incidents import drilled_kind_faults, incident_faults
from charkha.spec.checks.values import listing, quote, way_to
from charkha.spec.checks.views import view_faults
from charkha.spec.definition import Definition, load_definition
from charkha.spec.drills import DeclaredIncident
from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.model import Model
from charkha.spec.sources import Source
from charkha.spec.texts import OnDisk, Taken, Texts
from charkha.spec.views import FeatureView
from charkha.spec.webhooks import WEBHOOKS, WebhookForm, webhook_faults, webhooks_of

# The environment variable that names another home, with a ledger of its own in it: what a replay left, say.
HOME_VARIABLE = "CHARKHA_HOME"
SETTINGS = ("name", "definition", "home", "ledger", "fsync", "online_gb", *WEBHOOKS, *ANCHOR_SETTINGS)
FSYNC = ("never", "always")
MOST_ONLINE_GB = 4096
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ProjectNotFound(Exception):
    """No project in a folder or any above it."""

    def __init__(self, start: Path) -> None:
        self.start = start
        super().__init__(
            f"expected charkha.toml, or [tool.charkha] in pyproject.toml, in {start.resolve()} or a folder above it, "
            "found neither. Go to your project's folder, or make one with: charkha init NAME"
        )


@frozen(eq=False)
class Project:
    """What a project consists of, checked.

    root: its folder, against which the paths of data are read. home: the folder of all that Charkha keeps.
    ledger: URL of the ledger's database, or None for the one in `home`.
    fsync: whether the disk confirms each append ("always") or the operating system does ("never").
    online_gb: the size that the online state can grow to.
    unused_views: the sound feature views that the definition makes and no model reads. Their state is not kept.
    incidents: those that the definition declares for drills, by name.
    webhooks: where those are who are told of incidents, by the form of what is sent there.
    anchors: where the ledger's head is kept besides; None for nowhere, and for another home than the project's own.
    """

    name: str
    root: Path
    home: Path
    models: Mapping[str, Model]
    ledger: str | None = None
    fsync: Literal["never", "always"] = "never"
    online_gb: int = 16
    unused_views: tuple[FeatureView, ...] = ()
    incidents: Mapping[str, DeclaredIncident] = {}
    webhooks: Mapping[WebhookForm, str] = {}
    anchors: AnchorPlaces | None = None

    @property
    def sources(self) -> Mapping[str, Source]:
        """Every source that a model reads, by name."""
        return {source.name: source for source in all_sources(list(self.models.values()))}

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """Every feature view, each once."""
        return tuple(all_views(list(self.models.values())))


def load_project(start: Path, texts: Texts | None = None) -> Project:
    """Return the project whose folder `start` is, or lies in.

    Runs the definition's Python file. texts: where that and the settings are read; None for the disk. Raises
    ProjectNotFound, and DefinitionError with all faults at once.
    """
    texts = texts or OnDisk()
    file, settings = find_settings(start, texts)
    definition = _checked_definition(file, settings, texts)
    models, root = definition.models, file.parent
    values = {name: _with_environment(str(value)) for name, value in settings.items()}
    used = all_views(models)
    elsewhere = os.environ.get(HOME_VARIABLE)
    return Project(
        name=values.get("name", root.name),
        root=root,
        home=Path(elsewhere) if elsewhere else root / values.get("home", ".charkha"),
        models={model.name: model for model in models},
        ledger=None if elsewhere else values.get("ledger"),
        fsync="always" if values.get("fsync") == "always" else "never",
        online_gb=int(values.get("online_gb", 16)),
        unused_views=tuple(view for view in definition.views if view not in used and not list(view_faults(view))),
        incidents={each.name: each for each in definition.incidents},
        webhooks=webhooks_of(values),
        anchors=None if elsewhere else anchor_places(values, root),
    )


def take_project(start: Path) -> tuple[Project, Taken]:
    """Return a project, and the texts that it is made of, to load it from again. Raises as `load_project` does."""
    texts = OnDisk()
    return load_project(start, texts), texts.taken()


def _checked_definition(file: Path, settings: Mapping[str, object], texts: Texts) -> Definition:
    """Return what a project defines. Raises DefinitionError with the faults of its settings and its definition."""
    faults = list(_settings_faults(file, settings))
    if not faults:  # otherwise a variable that it needs may be missing
        values = {name: _with_environment(str(value)) for name, value in settings.items()}
        faults += [*webhook_faults(webhooks_of(values)), *anchor_faults(values)]
    broken = any(fault.where == f"{file.name}, definition" for fault in faults)
    definition = file.parent / ("" if broken else _with_environment(str(settings.get("definition", "definition.py"))))
    if faults and not texts.has(definition):
        raise DefinitionError(faults)  # where the definition lies is perhaps what is wrong with the settings
    try:
        found = load_definition(definition, file.parent, texts)
    except DefinitionError as error:
        raise DefinitionError([*faults, *error.faults]) from error
    faults += check(found.models)
    faults += incident_faults(found.incidents)
    faults += drilled_kind_faults(found.models, found.incidents)
    if faults:
        raise DefinitionError(faults)
    return found


def find_settings(start: Path, texts: Texts | None = None) -> tuple[Path, Mapping[str, object]]:
    """Return the nearest settings file at or above `start`, and what it says. Raises ProjectNotFound."""
    texts = texts or OnDisk()
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        own, shared = candidate / "charkha.toml", candidate / "pyproject.toml"
        if texts.has(own):
            return own, _table(own, _read_toml(own, texts), "project")
        if texts.has(shared):
            tools = _table(shared, _read_toml(shared, texts), "tool")
            if "charkha" in tools:
                return shared, _table(shared, tools, "charkha")
    raise ProjectNotFound(start)


def _read_toml(file: Path, texts: Texts) -> Mapping[str, object]:
    try:
        return tomllib.loads(texts.read(file).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError([Fault(file.name, "TOML", str(error), "Mend the line it names.")]) from error


def _table(file: Path, content: Mapping[str, object], name: str) -> Mapping[str, object]:
    table = content.get(name, {})
    if isinstance(table, dict):
        return table
    raise DefinitionError(
        [Fault(file.name, f"a table [{name}]", quote(table), f"Write [{name}] on a line of its own.")]
    )


def _settings_faults(file: Path, settings: Mapping[str, object]) -> Iterator[Fault]:
    for name, value in settings.items():
        where = f"{file.name}, {name}"
        if name not in SETTINGS:
            yield Fault(where, f"one of {listing(SETTINGS)}", quote(name), way_to(name, SETTINGS, "Settings"))
        elif name == "online_gb":
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_ONLINE_GB:
                expected = f"a whole number of GB from 1 to {MOST_ONLINE_GB}"
                yield Fault(where, expected, quote(value), "Write online_gb = 16, or what your entities need.")
        elif name == "fsync" and value not in FSYNC:
            yield Fault(
                where, f"one of {listing(FSYNC)}", quote(value), 'Write fsync = "always" to survive power failures.'
            )
        elif not isinstance(value, str) or not value:
            yield Fault(where, "a text that is not empty", quote(value), f'Write {name} = "…".')
        else:
            yield from _variable_faults(where, value)


def _variable_faults(where: str, text: str) -> Iterator[Fault]:
    for variable in _VARIABLE.findall(text):
        if variable not in os.environ:
            remedy = f"Set it before you start Charkha: export {variable}=…"
            yield Fault(where, f"the environment variable {variable}", "none of this name", remedy)


def _with_environment(text: str) -> str:
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)
