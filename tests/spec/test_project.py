"""Finding a project, and wording whatever stops its definition."""

import os
import sys
from pathlib import Path

import pytest

import charkha as ck
from charkha.spec.faults import DefinitionError
from charkha.spec.project import Project, ProjectNotFound, load_project

DEFINITION = """
from datetime import datetime

import polars as pl

import charkha as ck


class Learner:
    kind = "learner"
    tasks = ("binary",)

    def fit(self, *_):
        return b""


trips = ck.Source("trips", {"at": datetime, "city": str, "paid": float}, ck.csv("trips.csv"), time="at")
paid = ck.FeatureView("city_paid", ck.Entity("city"), trips, windows=[ck.count(over="1h")])
model = ck.Model(
    "big",
    label=ck.Label(trips, pl.col("paid") > 10, at="at", delay="1d"),
    request=["city"],
    features=[paid],
    estimator=Learner(),
    purpose="test",
    owner="us",
)
again = model
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "charkha.toml").write_text('[project]\nname = "taxi"\n')
    (tmp_path / "definition.py").write_text(DEFINITION)
    return tmp_path


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load_project(folder)
    return [str(fault) for fault in caught.value.faults]


def test_a_gate_drills_with_kinds_that_there_are(root: Path) -> None:
    gated = DEFINITION.replace('owner="us",', 'owner="us",\n    gates=[ck.survives_drill("unit_chnage", "blank")],')
    (root / "definition.py").write_text(gated)
    where = "model 'big', gate SurvivesDrill: expected a kind of incident, got"
    close, unknown = faults_of(root)
    assert close == f"{where} 'unit_chnage'. Did you mean 'unit_change'? Or declare it with @ck.incident."
    assert unknown.startswith(f"{where} 'blank'. ")
    own = '@ck.incident("blank", cause="source")\ndef blank(rows, size, seed):\n    return rows\n'
    (root / "definition.py").write_text(gated.replace("unit_chnage", "unit_change") + own)
    assert load_project(root).models["big"].gates == (ck.survives_drill("unit_change", "blank"),)


def test_incidents_of_ones_own_are_looked_at(root: Path) -> None:
    wrong = '@ck.incident("a+b", cause="source", size=float("nan"))\ndef odd(rows):\n    return rows\n'
    (root / "definition.py").write_text(DEFINITION + wrong)
    name, size, function = faults_of(root)
    assert name == "incident 'a+b', name: expected letters, digits and _, got 'a+b'. Write \"late_feed\", say."
    assert size.startswith("incident 'a+b', size: expected a number, got nan")
    assert function.startswith("incident 'a+b': expected a function of the rows, the size and the seed")


def test_views_that_no_model_reads_are_known(root: Path) -> None:
    assert load_project(root).unused_views == ()
    more = 'idle = ck.FeatureView("idle", ck.Entity("city"), trips, latest=["paid"])\n'
    more += 'unsound = ck.FeatureView("unsound", 1, trips)\n'
    (root / "definition.py").write_text(DEFINITION + more)
    project = load_project(root)
    assert [view.name for view in project.unused_views] == ["idle"]
    assert [view.name for view in project.views] == ["city_paid"]


def test_a_project_is_found_from_below(root: Path) -> None:
    below = root / "notebooks" / "deep"
    below.mkdir(parents=True)
    project = load_project(below)
    assert (project.name, project.root, project.home) == ("taxi", root.resolve(), root.resolve() / ".charkha")
    assert list(project.models) == ["big"]
    assert list(project.sources) == ["trips"]
    assert [view.name for view in project.views] == ["city_paid"]
    assert project.ledger is None


def test_settings_may_live_in_pyproject(root: Path) -> None:
    (root / "charkha.toml").unlink()
    settings = '[tool.charkha]\nname = "shared"\nhome = "/var/lib/shared"\ndefinition = "models.py"\n'
    (root / "pyproject.toml").write_text(settings)
    (root / "definition.py").rename(root / "models.py")
    project = load_project(root)
    assert (project.name, project.home) == ("shared", Path("/var/lib/shared"))


def test_a_pyproject_of_somebody_else_is_passed_by(root: Path) -> None:
    inner = root / "package"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert load_project(inner).name == "taxi"


def test_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFound, match="charkha init NAME") as caught:
        load_project(tmp_path)
    assert caught.value.start == tmp_path


def test_secrets_come_from_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "charkha.toml").write_text('[project]\nledger = "sqlite:///${LEDGER_FOLDER}/ledger.db"\n')
    assert faults_of(root) == [
        "charkha.toml, ledger: expected the environment variable LEDGER_FOLDER, got none of this name. "
        "Set it before you start Charkha: export LEDGER_FOLDER=…"
    ]
    monkeypatch.setenv("LEDGER_FOLDER", "/data")
    project = load_project(root)
    assert (project.name, project.ledger) == (root.name, "sqlite:////data/ledger.db")


def test_unknown_settings_are_faults_with_a_suggestion(root: Path) -> None:
    (root / "charkha.toml").write_text('[project]\ndefinitions = "definition.py"\nname = 3\n')
    assert faults_of(root) == [
        "charkha.toml, definitions: expected one of name, definition, home, ledger, fsync, online_gb, "
        "webhook, webhook_slack, webhook_alertmanager, anchor, anchor_webhook, anchor_every, got 'definitions'. "
        "Did you mean 'definition'?",
        'charkha.toml, name: expected a text that is not empty, got 3. Write name = "…".',
    ]


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[project\n", "charkha.toml: expected TOML, got "),
        ("project = 3\n", "charkha.toml: expected a table [project], got 3."),
        ('[project]\ndefinition = "other.py"\n', "charkha.toml, definition: expected a Python file, got "),
        ('[project]\nfsync = "often"\n', "charkha.toml, fsync: expected one of never, always, got 'often'."),
        ("[project]\nonline_gb = 0\n", "charkha.toml, online_gb: expected a whole number of GB from 1 to 4096, got 0."),
        (
            "[project]\nonline_gb = true\n",
            "charkha.toml, online_gb: expected a whole number of GB from 1 to 4096, got ",
        ),
        ('[project]\ndefinition = "charkha.toml"\n', "charkha.toml: expected a file ending in .py, got .toml."),
    ],
)
def test_settings_that_cannot_be_used(root: Path, toml: str, expected: str) -> None:
    (root / "charkha.toml").write_text(toml)
    (fault,) = faults_of(root)
    assert fault.startswith(expected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 1\n", "definition.py: expected at least one model, got none."),
        ("x = = 1\n", "definition.py, line 1: expected valid Python, got SyntaxError: invalid syntax."),
        (
            "\nimport charkha as ck\nck.Source('x')\n",
            "definition.py, line 3: expected a line that runs (ck.Source('x'))",
        ),
        ("import nowhere\n", "definition.py, line 1: expected a line that runs (import nowhere), got ModuleNotFound"),
        ("raise SystemExit(3)\n", "definition.py, line 1: expected a line that runs (raise SystemExit(3)), got System"),
    ],
)
def test_what_stops_a_definition_is_told_with_its_line(root: Path, code: str, expected: str) -> None:
    (root / "definition.py").write_text(code)
    (fault,) = faults_of(root)
    assert fault.startswith(expected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ck.quantile('x')\n", "Mend that line; help(ck.quantile) says what it takes."),
        ("ck.quantile('x', over='1h')\n", "Mend that line; help(ck.quantile) says what it takes."),
        (
            "ck.FeatureView('v', ck.Entity('city'), trips, windows=5)\n",
            "Mend that line; help(ck.FeatureView) says what it takes.",
        ),
        ("ck.Model('late')\n", "Mend that line; help(ck.Model) says what it takes."),
        (
            "from charkha import Source as Rows, count\ncount(1, 2, 3)\n",
            "Mend that line; help(count) says what it takes.",
        ),
        ("def count():\n    pass\ncount(1)\n", "Mend that line."),
        ("pl.col('x').mean(1, 2)\n", "Mend that line."),
        ("ck.count(over='1h') + 1\n", "Mend that line."),
        ("1 / 0\n", "Mend that line."),
    ],
)
def test_a_word_that_was_called_wrongly_is_pointed_at(root: Path, code: str, expected: str) -> None:
    (root / "definition.py").write_text(DEFINITION + code)
    (fault,) = faults_of(root)
    assert fault.endswith(f" {expected}")


def test_all_faults_of_the_definition_come_together(root: Path) -> None:
    faulty = DEFINITION.replace('"city_paid"', '"city paid"').replace('owner="us"', 'owner=""')
    (root / "definition.py").write_text(faulty)
    assert [fault.split(":")[0] for fault in faults_of(root)] == ["view 'city paid'", "model 'big', owner"]


@pytest.mark.parametrize(
    ("faulty", "where"),
    [
        (DEFINITION.replace('owner="us"', 'owner=""'), "model 'big', owner"),
        (DEFINITION + "1 / 0\n", "definition.py, line 29"),
    ],
)
def test_faults_of_the_settings_come_together_with_those_of_the_definition(root: Path, faulty: str, where: str) -> None:
    (root / "charkha.toml").write_text('[project]\nfsync = "often"\nledger = "${NO_SUCH_VARIABLE}"\n')
    (root / "definition.py").write_text(faulty)
    found = [fault.split(":")[0] for fault in faults_of(root)]
    assert found == ["charkha.toml, fsync", "charkha.toml, ledger", where]


@pytest.mark.parametrize("setting", ['definitions = "models.py"', 'definition = ""', 'definition = "${NO_SUCH}.py"'])
def test_a_definition_that_the_settings_do_not_name_rightly_is_not_missed(root: Path, setting: str) -> None:
    (root / "charkha.toml").write_text(f"[project]\n{setting}\n")
    (root / "definition.py").unlink()
    (fault,) = faults_of(root)
    assert fault.startswith("charkha.toml, definition")


def test_neighbours_can_be_imported_and_do_not_linger(root: Path) -> None:
    (root / "sources_of_taxi.py").write_text("CITY = 'city'\n")
    (root / "definition.py").write_text("import sources_of_taxi\n" + DEFINITION)
    path = list(sys.path)
    assert isinstance(load_project(root), Project)
    assert "sources_of_taxi" not in sys.modules
    assert sys.path == path


def test_a_definition_is_read_as_it_is_now(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it and its neighbour were changed within a second, to the same length."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for number in range(3):
        texts = {"names.py": f"OWNER = 'team {number}'\n", "definition.py": f"import names\n{DEFINITION}"}
        texts["definition.py"] = (
            texts["definition.py"].replace('"big"', f'"big{number}"').replace('"us"', "names.OWNER")
        )
        for file, text in texts.items():
            (root / file).write_text(text)
            os.utime(root / file, (1_700_000_000, 1_700_000_000))
        (model,) = load_project(root).models.values()
        assert (model.name, model.owner) == (f"big{number}", f"team {number}")


def test_models_in_lists_and_dicts_are_found_in_order(root: Path) -> None:
    more = "from attrs import evolve\n\nmore = [evolve(model, name=name) for name in ('b', 'a')]\n"
    (root / "definition.py").write_text(DEFINITION + more + "named = {'c': evolve(model, name='c')}\n")
    assert list(load_project(root).models) == ["big", "b", "a", "c"]


def test_another_home_has_its_own_ledger(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "charkha.toml").write_text('[project]\nledger = "sqlite:////data/ledger.db"\n')
    monkeypatch.setenv("CHARKHA_HOME", str(root / "elsewhere"))
    project = load_project(root)
    assert (project.home, project.ledger) == (root / "elsewhere", None)


def test_how_bytes_are_kept_is_set_in_plain_sight(root: Path) -> None:
    assert (load_project(root).fsync, load_project(root).online_gb) == ("never", 16)
    (root / "charkha.toml").write_text('[project]\nfsync = "always"\nonline_gb = 64\n')
    assert (load_project(root).fsync, load_project(root).online_gb) == ("always", 64)
