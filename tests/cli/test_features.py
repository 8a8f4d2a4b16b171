"""`charkha features` on a project that serves: the proof of no skew, and what features there are."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from command_line import Shell, trained_shop

import charkha as ck
from charkha.clock import SimulatedClock, parse_time
from charkha.features.feed import Feed
from charkha.serving.service import Service
from charkha.spec.project import load_project
from charkha.storage.home import open_project

NOW_US = parse_time("2013-09-02T12:00:00Z")  # after all ratings


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `charkha init` leaves it, with a champion that has answered and been told of ratings."""
    shop = trained_shop(tmp_path_factory.mktemp("shops"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CHARKHA_HOME", raising=False)
        serve(shop)
    return shop


def serve(root: Path) -> None:
    """Ask for predictions at noon of four days."""
    project = load_project(root)
    (model,) = project.models.values()
    asked = asked_about(root / "data" / "ratings.parquet").select(model.request)
    with open_project(project) as home:
        clock = SimulatedClock(NOW_US)
        service = Service(project, home, clock, "w0")
        service.refresh()
        for day in range(4):
            clock.advance_to(NOW_US + day * 86_400_000_000)
            service.predict(model.name, asked)
        service.close()


def asked_about(file: Path) -> pl.DataFrame:
    """Return three viewers, each with one of the three films that were rated most in the last days."""
    ratings = pl.read_parquet(file).sort("rated_at").tail(3000)
    films = ratings["movie_id"].value_counts(sort=True).sort("count", "movie_id", descending=True)["movie_id"][:3]
    return pl.DataFrame({"user_id": ratings["user_id"].unique(maintain_order=True)[:3], "movie_id": films})


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


@pytest.mark.usefixtures("here")
def test_what_was_served_agrees(shell: Shell) -> None:
    ended = shell("features", "verify")
    assert ended.code == 0, ended.out
    assert ended.out.startswith("likes: 12 predictions of 2013-09-02T12:00:00Z to 2013-09-05T12:00:00Z, ")
    assert ended.out.endswith("all agree\n")
    part = shell("features", "verify", "likes", "--since", "2013-09-03", "--until", "2013-09-05", "--json")
    assert (part.code, part.json["agrees"], part.json["predictions"]) == (0, True, 6)
    assert shell("features", "verify", "--from", "2013-09-03", "--until", "2013-09-05", "--json").json == part.json
    assert shell("features", "verify", "--sample", "5", "--json").json["predictions"] == 5
    assert shell("features", "verify", "--until", "2013-01-01").out == (
        "likes: nothing was served before 2013-01-01T00:00:00Z\n"
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "command",
    [
        ("features", "verify"),
        ("features", "list"),
        ("features", "show", "film.count_28d"),
        ("features", "graph"),
        ("status",),
        ("history",),
    ],
)
def test_what_only_looks_makes_no_home(shell: Shell, command: tuple[str, ...], tmp_path: Path) -> None:
    nowhere = tmp_path / "misspelt"
    ended = shell("--home", str(nowhere), *command)
    assert (ended.code, ended.out) == (2, "")
    assert "expected a home that is there" in ended.err
    assert not nowhere.exists()


@pytest.mark.usefixtures("here")
def test_help_names_every_part_of_it_and_one_word_for_a_beginning(shell: Shell) -> None:
    assert "compute them for many past questions, build the state that is served from" in shell("features", "-h").out
    assert "--from" not in shell("features", "verify", "--help").out
    assert "--since" not in shell("replay", "--help").out


def test_what_differs_is_told_with_its_cause(shell: Shell, here: Path) -> None:
    """A rating is taken out of the file after the state was built from it."""
    file = here / "data" / "ratings.parquet"
    kept = file.read_bytes()
    try:
        without_newest(file)
        ended = shell("features", "verify")
        assert ended.code == 1, ended.out
        assert re.search(
            r"   film.count_28d  4 of 12 differ, at most by 1: served \d+\.0, recomputed \d+\.0\n", ended.out
        )
        assert re.search(r"   prediction [0-9a-f-]{36}, v1 as champion\n", ended.out)
        assert ended.out.count("vanished event, source ratings: row '") == 1
        found = shell("features", "verify", "--json")
        assert (found.code, found.json["agrees"]) == (1, False)
        assert found.json["features"][0]["first"]["cause"]["culprit"] == "source ratings"
    finally:
        file.write_bytes(kept)


def test_a_row_of_a_file_that_was_changed_is_named(shell: Shell, here: Path) -> None:
    file = here / "data" / "ratings.parquet"
    kept = file.read_bytes()
    try:
        ratings, film = pl.read_parquet(file), asked_about(file)["movie_id"][0]
        newest = ratings.filter(pl.col("movie_id") == film).sort("rated_at")["rating_id"][-1]
        changed = pl.when(pl.col("rating_id") == newest).then(pl.col("rating") + 0.125).otherwise(pl.col("rating"))
        ratings.with_columns(changed.alias("rating")).write_parquet(file)
        ended = shell("features", "verify")
    finally:
        file.write_bytes(kept)
    assert ended.code == 1
    assert f"correction, source ratings: row '{newest}' reads otherwise now than when it was applied" in ended.out


def without_newest(file: Path) -> None:
    """Take the newest rating of the film out of the file that is asked about first."""
    ratings = pl.read_parquet(file)
    newest = ratings.filter(pl.col("movie_id") == asked_about(file)["movie_id"][0]).sort("rated_at")["rating_id"][-1]
    ratings.filter(pl.col("rating_id") != newest).write_parquet(file)


@pytest.mark.usefixtures("here")
def test_what_is_not_written_rightly_exits_with_2(shell: Shell) -> None:
    for arguments, said in (
        (("liks",), "expected one of the project's models (likes), got 'liks'"),
        (("--since", "yesterday"), "expected a date or time such as 2013-04-01"),
        (("--since", "2013-08-27", "--until", "2013-08-26"), "expected a time after --since 2013-08-27"),
        (("--sample", "0"), "Invalid value for '--sample'"),
    ):
        ended = shell("features", "verify", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err


UNUSED = """
moods = ck.FeatureView("moods", ck.Entity("viewer", keys="user_id"), ratings, latest=["rating"], max_age="7d")
"""


@pytest.fixture
def with_unused(here: Path) -> Iterator[Path]:
    """The definition with a view that no model reads."""
    definition = here / "definition.py"
    kept = definition.read_text()
    definition.write_text(kept + UNUSED)
    yield here
    definition.write_text(kept)


@pytest.mark.usefixtures("with_unused")
def test_every_feature_is_listed_with_who_reads_it(shell: Shell) -> None:
    found = shell("features", "list", "--json").json
    features = {feature["name"]: feature for feature in found["features"]}
    viewer = features["viewer.count_28d"]
    assert (viewer["kind"], viewer["source"], viewer["entity"]) == ("window", "ratings", "viewer")
    assert (viewer["models"], viewer["versions"]) == (["likes"], {"likes": ["v1"]})
    assert viewer["nulls"]["likes"]["tested"] == 0.0
    assert 0.3 < features["taste.gap"]["nulls"]["likes"]["tested"] < 0.6
    assert features["taste.gap"]["reads"] == ["film.mean_rating_28d", "viewer.mean_rating_28d"]
    assert features["moods.rating"]["models"] == []
    assert found["unused_views"] == ["moods"]
    views = {view["name"]: view for view in found["views"]}
    assert views["film"]["newest_known"].startswith("2013-09-01T")
    assert views["film"]["state"]["keys"] > 1000
    assert views["film"]["state"]["complete"]
    assert views["moods"]["state"] is None
    text = shell("features", "list").out
    assert re.search(r"^film.count_1d +ratings by film +likes \(v1\) +0.0%", text, re.MULTILINE)
    assert re.search(r"^film +ratings by movie_id +2013-09-01T\S+ +[\d,]+ keys, [\d.]+ kB", text, re.MULTILINE)
    assert text.endswith("view moods is read by no model\n")


@pytest.mark.usefixtures("with_unused")
def test_one_feature_is_explained_in_words(shell: Shell) -> None:
    mean = shell("features", "show", "film.mean_rating_7d").out
    assert mean.startswith("film.mean_rating_7d  window\n")
    for said in (
        "the mean of rating, of the rows of ratings of one film (movie_id) that became known in the last 7d",
        "known times from (floor(t / 1h) - 168) * 1h to t, both included",
        "null when no row has a value; corrections leave it as it is",
        "read by   likes (v1)",
        "% when likes was tested, - now",
    ):
        assert said in mean
    assert "how many rows there are, of the rows" in shell("features", "show", "viewer.count_28d").out
    latest = shell("features", "show", "moods.rating").out
    assert "rating in the newest row of ratings of one viewer (user_id), by event time among those known" in latest
    assert "null when that is older than 7d; a correction is taken when it becomes known" in latest
    assert "read by   no model" in latest
    assert "from film.mean_rating_28d, viewer.mean_rating_28d\n" in shell("features", "show", "taste.gap").out
    assert shell("features", "show", "taste.gap", "--json").json["kind"] == "request"
    unknown = shell("features", "show", "film.mean")
    assert (unknown.code, unknown.out) == (2, "")
    assert "got 'film.mean'. Did you mean 'film.mean_rating_" in unknown.err
    assert "charkha features list names them all" in shell("features", "show", "weather").err


@pytest.mark.usefixtures("with_unused")
def test_the_graph_is_a_tree_and_a_diagram(shell: Shell) -> None:
    tree = shell("features", "graph").out
    assert "── view film by movie_id\n" in tree
    assert "── film.count_28d → likes (v1)\n" in tree
    assert "── moods.rating → no model\n" in tree
    assert "── taste.gap from film.mean_rating_28d, viewer.mean_rating_28d → likes (v1)\n" in tree
    edges = {(edge["of"], edge["makes"]) for edge in shell("features", "graph", "--json").json}
    assert ("source ratings", "view film") in edges
    assert ("feature film.mean_rating_28d", "feature taste.gap") in edges
    assert ("feature taste.gap", "model likes") in edges
    diagram = shell("features", "graph", "--mermaid").out.splitlines()
    assert diagram[0] == "flowchart LR"
    assert '  model_32_likes{{"likes"}}' in diagram
    assert "  view_32_moods --> feature_32_moods_46_rating" in diagram
    assert len([line for line in diagram if "-->" in line]) == len(edges)


@pytest.fixture
def with_less(here: Path) -> Iterator[None]:
    """The definition without a window and a request feature that the champion still reads."""
    definition = here / "definition.py"
    kept = definition.read_text()
    fewer = kept.replace('ck.count(over=["1d", "28d"])', 'ck.count(over="28d")')
    definition.write_text(fewer.replace("viewer, film, taste", "viewer, film"))
    yield
    definition.write_text(kept)


@pytest.mark.usefixtures("with_less")
def test_what_only_a_deployed_version_has_left_is_listed_as_that(shell: Shell) -> None:
    features = {feature["name"]: feature for feature in shell("features", "list", "--json").json["features"]}
    former = {name: feature for name, feature in features.items() if not feature["declared"]}
    assert former.keys() == {"film.count_1d", "taste.gap"}
    assert former["film.count_1d"]["versions"] == {"likes": ["v1"]}
    assert former["taste.gap"]["nulls"]["likes"]["tested"] > 0.3
    text = shell("features", "list").out
    assert re.search(r"^film.count_1d +ratings by film +only in version v1 of likes +0.0%", text, re.MULTILINE)
    assert re.search(r"^film.count_28d +ratings by film +likes \(v1\) +0.0%", text, re.MULTILINE)
    shown = shell("features", "show", "film.count_1d").out
    assert "for all features of film\n  read by   only in version v1 of likes\n" in shown
    assert "only in version v1 of likes" in shell("features", "show", "taste.gap").out
    assert "film.count_1d" not in shell("features", "graph").out
    assert not any("film.count_1d" in edge["makes"] for edge in shell("features", "graph", "--json").json)


OTHERWISE = {
    'ck.count(over=["1d", "28d"])': 'ck.count(over="28d"), ck.count(over="1d",'
    ' where=pl.col("rating") > 5, name="count")',
    '- pl.col("viewer.mean_rating_28d")': '- pl.col("viewer.mean_rating_7d")',
}


@pytest.fixture
def with_other(here: Path) -> Iterator[None]:
    """The definition with a filter in a window, and another expression, under the names that the champion reads."""
    definition = here / "definition.py"
    kept = definition.read_text()
    for was, is_now in OTHERWISE.items():
        assert was in definition.read_text()
        definition.write_text(definition.read_text().replace(was, is_now))
    yield
    definition.write_text(kept)


@pytest.mark.usefixtures("with_other")
def test_what_a_deployed_version_declares_otherwise_is_told(shell: Shell) -> None:
    """Neither what a version reads nor how often it was null is said of a declaration that it never had."""
    text = shell("features", "list").out
    assert re.search(r"^film.count_1d +ratings by film +likes \(v1 otherwise\)", text, re.MULTILINE)
    assert re.search(r"^taste.gap +.* +likes \(v1 otherwise\)", text, re.MULTILINE)
    assert re.search(r"^viewer.count_28d +ratings by viewer +likes \(v1\)", text, re.MULTILINE)
    shown = shell("features", "show", "film.count_1d").out
    assert "rating" in shown.splitlines()[1]
    assert "read by   likes (v1 otherwise)\n" in shown
    assert "in v1 of likes it is declared otherwise: how many rows there are, of the rows of ratings" in shown
    assert "when likes was tested, - now (as v1 declares it)" in shown


def test_state_that_is_kept_for_nobody_is_named(shell: Shell, here: Path) -> None:
    """A view was read once; another took its place in the definition, and in every version that serves."""
    project = load_project(here)
    other = ck.FeatureView("old", ck.Entity("film", keys="movie_id"), project.sources["ratings"], latest=["rating"])
    with open_project(project) as home:
        feed = Feed(project.sources, project.views, home.log, home.online, SimulatedClock(NOW_US))
        assert feed.materialise(here, NOW_US, views=[other]) == 1
    text = shell("features", "list").out
    assert re.search(r"the state of a view old is kept for nobody: [\d,]+ keys, [\d.]+ kB\n$", text)


def test_of_a_large_state_only_so_much_is_counted(shell: Shell, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setattr("charkha.monitoring.catalogue.MOST_ENTRIES", 100)
    states = [view["state"] for view in shell("features", "list", "--json").json["views"]]
    assert [(state["keys"], state["complete"]) for state in states] == [(100, False)] * 2
    assert "more than 100 keys, " in shell("features", "list").out


def test_files_that_come_are_taken_in(shell: Shell, here: Path, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path / "other"))
    assert shell(*home, "features", "materialise", "--as-of", "2013-08-20").out == "built the state of 2 views\n"
    found = shell(*home, "features", "materialise", "--json").json
    assert found["built"] == 0
    assert [(each["source"], each["rows"] > 0, each["anew"]) for each in found["sources"]] == [("ratings", True, "")]
    assert shell(*home, "features", "materialise").out == "the state is there already\n"
    earlier = shell(*home, "features", "materialise", "--as-of", "2013-08-20")
    assert earlier.code == 1
    assert "expected no row that became known after 2013-08-20" in earlier.err
    assert shell(*home, "features", "materialise", "--as-of", "2013-08-20", "--anew").code == 0
    assert shell(*home, "features", "materialise", "--as-of", "soon").code == 2
