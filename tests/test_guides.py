"""The guides hold: their blocks are run in order, as a reader would, and what they show is what comes, but for figures.

In a guide, "```python file=NAME" is a file to write, "```sh" are lines to run, and a "```text" or "```json" right after
them is what they print: any number may be another, `…` stands for anything, and lines may be folded elsewhere. A line
that is to fail says so: `# exits with 1`. The server really runs, on a port of its own.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from attrs import define, field

from charkha.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "docs" / name for name in ("data.md", "protocols.md", "scoring.md", "security.md")]
GUIDES = [*sorted(ROOT.glob("docs/guide-*.md")), *PAGES]
BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
EXITS = re.compile(r" +# exits with (?P<code>\d+)$")
FILE = "python file="
SHOWN = ("text", "json")
# Nobody asks as soon as they have promoted: a server follows within a quarter of a second.
READING_SECONDS = 0.5
# What may differ from day to day. Versions are names, not figures.
TOKEN = re.compile(r"(?P<name>\bv\d+\b)|(?P<any>…)|(?P<number>[-+−]?\d[\d.,]*)|(?P<month>\b[A-Z][a-z]{2} (?=20\d\d\b))")
STANDS_FOR = {"any": ".*", "number": r"[-+−]?\d[\d.,]*", "month": "[A-Z][a-z]{2} "}
# A replay's row per month: how many there are depends on the day.
MONTH = re.compile(
    r"^(?:January|February|March|April|May|June|July|August|September|October|November|December) .*$", re.M
)
BARS = re.compile("[▏▎▍▌▋▊▉█]+")
EXPORT = re.compile(r"export (?P<name>[A-Z_]+)=\$\((?P<line>.*)\)")
VARYING = re.compile(r"[0-9a-f-]{36}|[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z")


def plain(text: str) -> str:
    """Return text without bars and rows of months, and with any white space as one space."""
    return " ".join(BARS.sub(" ", MONTH.sub("", text)).split())


def pattern(shown: str) -> str:
    """Return the expression that what was shown stands for."""
    parts, end = [], 0
    for token in TOKEN.finditer(shown):
        kind = str(token.lastgroup)
        parts += [re.escape(shown[end : token.start()]), STANDS_FOR.get(kind, re.escape(token[0]))]
        end = token.end()
    return "".join(parts) + re.escape(shown[end:])


def assert_like(shown: str, found: str) -> None:
    """Fail unless what came is what was shown, but for figures."""
    assert re.fullmatch(pattern(plain(shown)), plain(found)), f"shown:\n{shown}\nfound:\n{found}"


def same_shape(shown: Any, found: Any) -> bool:
    """Say whether two JSON documents are alike: fields, types, and texts but for ids, times and figures."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return shown.keys() == found.keys() and all(same_shape(shown[key], found[key]) for key in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(same_shape, shown, found))
    if isinstance(shown, str) and isinstance(found, str):
        return bool(VARYING.fullmatch(shown) and VARYING.fullmatch(found)) or (
            re.fullmatch(pattern(shown), found) is not None
        )
    return type(shown) is type(found)


def ids_of(document: Any) -> Iterator[str]:
    """Yield the ids in a JSON document, in order."""
    if isinstance(document, dict):
        yield from ([document["id"]] if "id" in document else [])
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from ids_of(part)


@define(eq=False)
class Reader:
    """Somebody who types what a guide says.

    ids: those that the guide shows → those that came in their place. names: what was exported, with its `$`.
    addresses: those that the guide names → those of the server.
    """

    printed: str = ""
    addresses: dict[str, str] = field(factory=dict)
    server: "subprocess.Popen[str] | None" = None
    ids: dict[str, str] = field(factory=dict)
    names: dict[str, str] = field(factory=dict)

    def follow(self, info: str, code: str) -> None:
        if info.startswith(FILE):
            Path(info.removeprefix(FILE)).write_text(self.addressed(code), "utf-8")
        elif info == "sh":
            self.printed = "".join(self.type(line) for line in code.splitlines() if line.strip())
        elif info in SHOWN:
            self.compare(info, code)

    def compare(self, info: str, shown: str) -> None:
        if info == "text":
            assert_like(shown, self.printed)
            return
        expected, found = json.loads(shown), json.loads(self.printed)
        assert same_shape(expected, found), f"shown:\n{shown}\nfound:\n{json.dumps(found, indent=2)}"
        self.ids.update(zip(ids_of(expected), ids_of(found), strict=True))

    def type(self, line: str) -> str:
        """Run one line and return what it printed."""
        if export := EXPORT.fullmatch(line):
            self.names[f"${export['name']}"] = self.type(export["line"]).strip()
            return ""
        for shown, found in {**self.names, **self.ids}.items():
            line = line.replace(shown, found)
        exits = EXITS.search(line)
        words = shlex.split(EXITS.sub("", line))
        if words[0] == "cd":
            os.chdir(words[1])
            return ""
        if words[0] == "curl":
            return self.curl(words[1:])
        if words[:2] == ["charkha", "serve"] and not exits:
            return self.serve(words[2:])
        code, printed = charkha(words[1:]) if words[0] == "charkha" else run(words)
        assert code == (int(exits["code"]) if exits else 0), f"{line}\n{printed}"
        return printed

    def curl(self, words: list[str]) -> str:
        time.sleep(READING_SECONDS)
        url = f"http://{self.addressed(words[0])}"
        given = dict(zip(words[1::2], words[2::2], strict=True))
        assert given.keys() <= {"--json", "-H"}
        headers = dict([given["-H"].split(": ")]) if "-H" in given else {}
        if "--json" not in given:
            return httpx.get(url, headers=headers, timeout=30).text
        headers["content-type"] = "application/json"
        return httpx.post(url, content=given["--json"], headers=headers, timeout=30).text

    def addressed(self, text: str) -> str:
        for shown, real in self.addresses.items():
            text = text.replace(shown, real)
        return text

    def serve(self, options: list[str]) -> str:
        """Start the server, and return the line it prints when it answers. Its ports are any that are free."""
        named = dict(pairwise(options)).get("--grpc-port", "none")
        free = ["0" if option == named else option for option in options]
        command = [sys.executable, "-m", "charkha", "serve", "--port", "0", *free]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        said = self.server.stdout.readline()
        self.addresses["localhost:8000"] = re.findall(r"http://(\S+)", said)[0]
        self.addresses |= {f"localhost:{named}": found for found in re.findall(r"gRPC at (\S+)", said)}
        return said

    def leave(self) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.communicate(timeout=60)


def charkha(arguments: list[str]) -> tuple[int, str]:
    """Run a command in this process, which has loaded the libraries already; return its exit code and its output."""
    out, err = StringIO(), StringIO()
    # `--home` sets a variable for the processes that a command starts: the next command is none of them.
    with patch.dict(os.environ), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    return code if isinstance(code, int) else 0, out.getvalue() + (err.getvalue() if code else "")


def run(words: list[str]) -> tuple[int, str]:
    """Run a program of the shell's; `python` is this one."""
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_keyboard: Callable[[str], None]) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    at_keyboard("asha")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("CHARKHA_HOME", raising=False)
    someone = Reader()
    yield someone
    someone.leave()


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_a_guide_can_be_followed(guide: Path, reader: Reader) -> None:
    for found in BLOCK.finditer(guide.read_text("utf-8")):
        reader.follow(found["info"].strip(), found["code"])
    assert reader.server is not None


def test_what_is_shown_may_differ_in_figures_only() -> None:
    assert_like("roc_auc  0.91 (0.5 to 1.5)\nv2 is … in\nall", "roc_auc 0.1 (1 to 2)\n  v2 is the best in all")
    for shown, found in (("v1 serves", "v2 serves"), ("2 of 3 gates", "2 of 3 gate"), ("a", "a b"), ("0.9", "none")):
        with pytest.raises(AssertionError):
            assert_like(shown, found)
    assert same_shape({"id": "a 1", "n": [1.5, None]}, {"id": "a 22", "n": [0.0, None]})
    for other in (
        {"id": "b 1", "n": [1.5, None]},
        {"id": "a 1", "n": [1.5]},
        {"id": "a 1"},
        {"id": "a 1", "n": [1, 2]},
    ):
        assert not same_shape({"id": "a 1", "n": [1.5, None]}, other)
