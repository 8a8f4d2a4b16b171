"""`charkha features list`, `show` and `graph`: what features there are, and who depends on them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from charkha.cli.options import AsJson
from charkha.cli.session import Session, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.monitoring.catalogue_entries import Catalogue, FeatureEntry, StateSize, ViewEntry

EXAMPLES = {
    "list_features": ("charkha features list", "charkha features list --json | jq '.unused_views'"),
    "show": ("charkha features show viewer.mean_rating_28d", "charkha features show taste.gap --json"),
    "graph": ("charkha features graph", "charkha features graph --mermaid >> docs/features.md"),
}


def list_features(context: typer.Context, *, json: AsJson = False) -> None:
    """List every feature: its source and entity, who reads it, how often it is null, and how large its state is.

    What the definition has no more, and a deployed version still reads, is named with that version. Null shares are
    those of the champion, when it was tested and over the monitors' window. Views that no model reads, and state that
    is kept for nobody, are named at the end.
    """
    session = session_of(context)
    found = look_up(session)
    if json:
        session.print_json(found)
        return
    session.out.print(feature_table(found))
    session.out.print(view_table(found))
    for name in found.unused_views:
        session.out.print(f"[yellow]view {escape(name)} is read by no model[/]", highlight=False)
    for view in found.idle_state:
        said = f"the state of a view {view.name} is kept for nobody: {size_in_words(view.state)}"
        session.out.print(f"[yellow]{escape(said)}[/]", highlight=False)


def show(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="FEATURE", help="Which feature, such as viewer.count_28d.")],
    json: AsJson = False,
) -> None:
    """Explain one feature in words: what it is, where its window's edges lie, when it is null, and who reads it."""
    session = session_of(context)
    found = look_up(session)
    feature = next((each for each in found.features if each.name == name), None)
    if feature is None:
        raise typer.BadParameter(_unknown(name, found), param_hint="FEATURE")
    if json:
        session.print_json(feature)
    else:
        explain(session, feature, found)


def graph(
    context: typer.Context,
    *,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid diagram, for a page.")] = False,
    json: AsJson = False,
) -> None:
    """Draw who depends on what: from sources over views and features to models."""
    from charkha.monitoring.feature_graph import edges_of
    from charkha.monitoring.feature_graph import mermaid as diagram

    session = session_of(context)
    found = look_up(session)
    if json:
        session.print_json(edges_of(found))
    elif mermaid:
        session.out.print(diagram(found), markup=False, highlight=False, soft_wrap=True, end="")
    else:
        session.out.print(tree(found))


def look_up(session: Session) -> "Catalogue":
    """Return all that there is to say of the project's features, now."""
    from charkha.clock import SystemClock
    from charkha.monitoring.catalogue import catalogue

    project = session.project()
    with opened_to_read(project) as home:
        return catalogue(project, home, SystemClock().now())


def feature_table(found: "Catalogue") -> Table:
    """Return the features as a table."""
    table = Table("feature", "from", "read by", "null", "now", box=None, header_style="dim", pad_edge=False)
    for feature in found.features:
        origin = f"{feature.source} by {feature.entity}" if feature.source else ", ".join(feature.reads)
        tested = ", ".join(share(nulls.tested) for nulls in feature.nulls.values())
        now = ", ".join(share(nulls.now) for nulls in feature.nulls.values())
        table.add_row(f"[bold]{escape(feature.name)}[/]", escape(origin), escape(read_by(feature)), tested, now)
    return table


def view_table(found: "Catalogue") -> Table:
    """Return the views as a table, with the size of their state."""
    table = Table("view", "from", "newest row", "online state", box=None, header_style="dim", pad_edge=False)
    for view in found.views:
        name = view.name if view.declared else f"{view.name} (as {readers(view)} knows it)"
        origin = f"{view.source} by {', '.join(view.keys)}"
        table.add_row(f"[bold]{escape(name)}[/]", escape(origin), newest_of(view), size_in_words(view.state))
    return table


def explain(session: Session, feature: "FeatureEntry", found: "Catalogue") -> None:
    """Print all that is to be said of a feature."""

    def line(word: str, text: str) -> None:
        session.out.print(f"  [dim]{word:<10}[/]{escape(text)}", highlight=False)

    session.out.print(f"[bold]{escape(feature.name)}[/]  {feature.kind}", highlight=False)
    for number, sentence in enumerate(feature.says):
        line("is" if number == 0 else "", sentence)
    view = next((view for view in found.views if feature.name in view.features), None)
    if view is not None:
        line("newest", f"{newest_of(view)} in {view.source}")
        line("state", f"{size_in_words(view.state)} for all features of {view.name}")
    line("read by", read_by(feature) or "no model")
    for model, versions in feature.otherwise.items():
        for version, says in versions.items():
            line("", f"in {version} of {model} it is declared otherwise: {says}")
    for model, nulls in feature.nulls.items():
        which = f" (as {', '.join(feature.otherwise[model])} declares it)" if model in feature.otherwise else ""
        line("null", f"{share(nulls.tested)} when {model} was tested, {share(nulls.now)} now{which}")


def newest_of(view: "ViewEntry") -> str:
    """Return when the newest row of a view's source became known, in words."""
    return "rows without time" if view.static else view.newest_known or "no rows online"


def read_by(feature: "FeatureEntry") -> str:
    """Return who reads a feature; of one that the definition has no more, which versions still do."""
    if feature.declared:
        return readers(feature)
    known = (f"{', '.join(versions)} of {model}" for model, versions in feature.versions.items())
    several = sum(map(len, feature.versions.values())) > 1
    return f"only in version{'s' if several else ''} {', '.join(known)}"


def readers(entry: "FeatureEntry | ViewEntry") -> str:
    """Return who reads a feature or view, with the deployed versions, such as "likes (v1, v2)"."""
    names = dict.fromkeys((*entry.models, *entry.versions))
    deployed = {name: f" ({_versions(entry, name)})" if name in entry.versions else "" for name in names}
    return ", ".join(f"{name}{versions}" for name, versions in deployed.items())


def _versions(entry: "FeatureEntry | ViewEntry", model: str) -> str:
    otherwise = getattr(entry, "otherwise", {}).get(model, {})
    return ", ".join(f"{each} otherwise" if each in otherwise else each for each in entry.versions[model])


def share(value: float | None) -> str:
    """Return a share as a percentage; - where it was not measured."""
    return "-" if value is None else f"{value:.1%}"


def size_in_words(state: "StateSize | None") -> str:
    """Return how large a state is, such as "1,204 keys, 1.3 MB"."""
    if state is None:
        return "not built"
    size = next((f"{state.bytes / scale:.1f} {unit}" for scale, unit in _SCALES if state.bytes >= scale), "")
    return f"{'' if state.complete else 'more than '}{state.keys:,} keys, {size or f'{state.bytes} bytes'}"


_SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def tree(found: "Catalogue") -> Tree:
    """Return the graph as a tree: source, view, feature, and who reads it."""
    root = Tree(f"[bold]{escape(found.project)}[/]")
    names = dict.fromkeys(view.source for view in found.views if view.declared)
    sources = {name: root.add(f"source [bold]{escape(name)}[/]") for name in names}
    views = {
        view.name: sources[view.source].add(f"view [bold]{escape(view.name)}[/] by {escape(', '.join(view.keys))}")
        for view in found.views
        if view.declared
    }
    declared = [feature for feature in found.features if feature.declared]
    computed = {feature.part for feature in declared if feature.kind == "request"}
    groups = {name: root.add(f"request [bold]{escape(name)}[/]") for name in sorted(computed)}
    for feature in declared:
        branch = (groups if feature.kind == "request" else views)[feature.part]
        reads = f" from {', '.join(feature.reads)}" if feature.reads else ""
        branch.add(escape(f"{feature.name}{reads} → {readers(feature) or 'no model'}"))
    return root


def _unknown(name: str, found: "Catalogue") -> str:
    from difflib import get_close_matches

    names = [feature.name for feature in found.features]
    near = get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}?" if near else "charkha features list names them all."
    return f"expected one of the project's features, got {name!r}. {hint}"


COMMANDS: dict[str, Callable[..., None]] = {"list": list_features, "show": show, "graph": graph}
