"""The documentation holds: links lead somewhere, Python runs, commands exist, the first example is the quickstart."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from charkha.cli.commands import COMMANDS, app

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "examples" / "quickstart"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])
BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)

# A page's Python is run as one module, in the folder of the quickstart. What only shows the idea is marked
# "```python sketch"; "```python file=NAME" is a file of a guide, which test_guides.py follows.
RUNS, SKETCH = "python", "python sketch"


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield what each fenced block of a page is, and its code."""
    for found in BLOCK.finditer(page.read_text("utf-8")):
        yield found["info"].strip(), found["code"]


def prose(page: Path) -> str:
    """Return a page without its blocks and code words."""
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make, as most forges do."""
    texts = [found["text"].lower() for found in HEADING.finditer(BLOCK.sub("", page.read_text("utf-8")))]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def commands(page: Path) -> list[str]:
    """Return the lines of shell that call charkha, without comments and without what they are piped to."""
    lines = [line for info, code in blocks(page) if info in ("sh", "bash", "console") for line in code.splitlines()]
    bare = [line.strip().removeprefix("$ ").split(" #")[0] for line in lines]
    parts = [part.strip() for line in bare for part in re.split(r" && | \| ", line)]
    return [part for part in parts if part.startswith("charkha ")]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for found in LINK.finditer(prose(page)):
        path, _, anchor = found["target"].partition("#")
        if found["target"].startswith(("https://", "http://", "mailto:")):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(found["target"])
    assert dead == []


def python_of(page: Path) -> str:
    return "\n".join(code for info, code in blocks(page) if info == RUNS)


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)], ids=page_id)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(QUICKSTART, tmp_path / "quickstart")
    monkeypatch.chdir(tmp_path / "quickstart")
    exec(compile(python_of(page), str(page), "exec"), {"__name__": page.stem})


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_blocks_are_marked_as_what_they_are(page: Path) -> None:
    known = {RUNS, SKETCH, "sh", "bash", "console", "json", "toml", "yaml", "sql", "text", "html", ""}
    assert {re.sub(r"^python file=\S+$", RUNS, info) for info, _ in blocks(page)} <= known


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=page_id)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line)[1:]
        named = [name for name in COMMANDS if f" {name} " in f" {' '.join(words)} "]
        assert named, f"{line!r} names no command"
        options = [word.split("=")[0] for word in words if word.startswith("-")]
        shown = (
            CliRunner().invoke(app, ["--help"]).output + CliRunner().invoke(app, [*named[0].split(), "--help"]).output
        )
        assert [option for option in options if not re.search(rf"{option}\b", shown)] == [], line


def test_the_first_example_of_the_readme_is_the_quickstart() -> None:
    info, code = next(blocks(ROOT / "README.md"))
    assert info == RUNS
    assert code == (QUICKSTART / "definition.py").read_text("utf-8")


def test_every_command_is_in_the_documentation() -> None:
    shown = [f" {' '.join(shlex.split(line)[1:])} " for page in PAGES for line in commands(page)]
    assert [name for name in COMMANDS if not any(f" {name} " in line for line in shown)] == []


def test_a_dead_link_and_a_wrong_command_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n[x](gone.md) `[no](link)`\n```sh\ncd x && charkha trian --jsn  # why\n```\n")
    assert [found["target"] for found in LINK.finditer(prose(page))] == ["gone.md"]
    assert commands(page) == ["charkha trian --jsn"]
    assert anchors(page) == {"a-b"}
