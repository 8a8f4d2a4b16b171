"""The reference pages are complete: every dependency, error code, metric, rule and file that there is, and no other."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from charkha.operations.decide import RULES
from charkha.spec.policies import Monitors
from charkha.spec.rollout import Shadow

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "charkha"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
REFUSALS = {"Refusal", "Refused", "Malformed", "Invalid", "TooLarge", "Quarantined", "__init__"}
CODE = re.compile(r"[a-z]+(?:_[a-z]+)*")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def section(name: str, title: str) -> str:
    """Return what a page says under a heading."""
    return page(name).split(f"## {title}\n")[1].split("\n## ")[0]


def rows(text: str, column: int = 0) -> list[str]:
    """Return the code words that stand alone in a column of any table."""
    cells = [line.strip("|").split(" | ")[column].strip(" |") for line in text.splitlines() if line.startswith("| ")]
    return [cell.strip("`") for cell in cells if re.fullmatch(r"`[^`]+`", cell)]


def declared() -> dict[str, list[str]]:
    """Return what pyproject.toml names, by extra; "" for what is always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [re.split(r"[\[>=<]", wanted)[0] for wanted in all_of] for extra, all_of in named.items()}


def imported() -> set[str]:
    """Return every top-level module that the package and its examples import, or look for by name."""
    found: set[str] = set()
    for file in [*PACKAGE.rglob("*.py"), *ROOT.glob("examples/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("find_spec", "require"):
                found |= {str(part.value) for part in node.args if isinstance(part, ast.Constant)}
    return found


def test_every_dependency_is_explained_and_no_other() -> None:
    named = {name for all_of in declared().values() for name in all_of} - {"charkha"}
    assert set(rows(page("dependencies.md"))) == named


def test_every_dependency_is_used() -> None:
    modules = imported()
    named = (name for module, names in packages_distributions().items() if module in modules for name in names)
    used = {name.lower().replace("_", "-") for name in named}
    needed = {name for extra, all_of in declared().items() if extra != "dev" for name in all_of} - {"charkha"}
    assert needed <= used


def refusal_codes() -> Iterator[str]:
    """Yield every code of an error that serving can answer with."""
    for file in (PACKAGE / "serving").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                defaults = [part.value for part in node.args.defaults if isinstance(part, ast.Constant)]
                yield from (value for value in defaults if isinstance(value, str) and CODE.fullmatch(value))
            elif isinstance(node, ast.Call) and name_of(node.func) in REFUSALS:
                given = [*node.args[:3], *(keyword.value for keyword in node.keywords if keyword.arg == "code")]
                texts = [part.value for part in given if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                yield from (text for text in texts if CODE.fullmatch(text))


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_every_error_code_is_in_the_reference() -> None:
    found = set(refusal_codes()) - {
        "model",
        "source",
        "rows",
        "reasons",
        "outputs",
        "raw_input_contents",
    }  # fields to blame, not codes
    assert {"malformed_json", "too_slow", "no_champion", "internal"} <= found
    assert set(rows(section("serving.md", "Errors"), 1)) == found


def test_every_status_is_in_the_document_that_a_server_gives() -> None:
    """But those that any path may give, and those of no route."""
    told = set(re.findall(r"^\| (\d{3}) \|", section("serving.md", "Errors"), re.MULTILINE))
    document = "".join(file.read_text("utf-8") for file in (PACKAGE / "serving").glob("openapi*.py"))
    assert told - {"405", "409", "500"} <= set(re.findall(r'"(\d{3})"', document))


def test_every_metric_is_in_the_reference() -> None:
    texts = [(PACKAGE / "serving" / name).read_text("utf-8") for name in ("metrics.py", "supervised.py")]
    made = re.findall(r'"(charkha_\w+)"', "".join(texts))
    shown = rows(section("serving.md", "Metrics"))
    assert sorted(name.removesuffix("_total") for name in shown) == sorted(made)


def test_the_rules_of_the_operator_are_all_told() -> None:
    told = re.findall(r"^\d+\. \*\*", section("operations.md", "What it does, in this order"), re.MULTILINE)
    assert len(told) == len(RULES)


def test_the_defaults_of_the_operations_page_are_those_of_the_code() -> None:
    table = section("operations.md", "Thresholds")
    assert f"`ck.shadow(min_labels=)` | {Shadow('7d').min_labels} |" in table
    assert f"`Monitors(psi=)` | {Monitors().psi} |" in table
    assert f"`Monitors(null_rise=)` | {Monitors().null_rise} |" in table
    assert f"`Monitors(skew_sample=)` | {Monitors().skew_sample} predictions" in table


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(file: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`((?:src|tests|docs|examples|benchmarks)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_names_in_capitals_of_the_recipes_are_there() -> None:
    """A recipe says which list to add to; a list that was renamed would send its reader looking."""
    recipes = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Ways to extend")[1]
    lists = set(re.findall(r"`(_?[A-Z][A-Z_]{3,})`", recipes))
    code = "\n".join(path.read_text("utf-8") for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("tests/**/*.py")])
    assert len(lists) > 10
    assert {name for name in lists if not re.search(rf"^{name}\b", code, re.MULTILINE)} == set()
