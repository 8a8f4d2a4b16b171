"""An exported ledger stands on its own: whoever changes a byte of it is found out."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from charkha.governance import audit
from charkha.governance.audit import export_ledger, verify_export
from charkha.storage.ledger import Assignment, BrokenChain, Draft, Ledger, chain_hash
from charkha.storage.ledger.canonical import canonical_json

COUNT = 5


def draft(number: int) -> Draft:
    evidence = {"difference": -0.1 / (number + 1), "note": 'größer | "quoted"', "labels": number}
    return Draft(
        f"k{number}", 1_364_774_400_000_000 + number, "late", "operator", "promote", f"reason {number}", evidence
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def exported(url: str) -> list[str]:
    ledger = Ledger(url)
    for number in range(COUNT):
        ledger.decide(draft(number), deploy=[Assignment(f"v{number}", "champion")] if number % 2 else None)
    lines = lines_of(ledger)
    ledger.close()
    return lines


def lines_of(ledger: Ledger) -> list[str]:
    stream = io.StringIO()
    written = export_ledger(ledger, stream)
    lines = stream.getvalue().splitlines(keepends=True)
    assert written == len(lines)
    return lines


def test_every_decision_is_a_line_that_can_be_checked(exported: list[str]) -> None:
    assert len(exported) == verify_export(exported) == COUNT
    last = json.loads(exported[-1])
    assert (last["sequence"], last["reason"], last["evidence"]["labels"]) == (5, "reason 4", 4)
    assert last["previous_hash"] == json.loads(exported[-2])["hash"]


def test_a_line_tells_what_was_put_into_production_and_is_held_to_it(exported: list[str]) -> None:
    kept = [json.loads(line).get("assignments") for line in exported]
    assert kept == [None, [{"role": "champion", "share": 1.0, "version": "v1"}], None, [kept[3][0]], None]
    for other in ([], [{"role": "champion", "share": 1.0, "version": "v9"}], [{"version": "v1"}], 7, None):
        changed = canonical_json(json.loads(exported[1]) | {"assignments": other}) + "\n"
        with pytest.raises(BrokenChain, match="decision 2 "):
            verify_export([exported[0], changed, *exported[2:]])


def test_pages_do_not_show(exported: list[str], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(url)
    for page in (1, 2, COUNT, COUNT + 1):
        monkeypatch.setattr(audit, "PAGE", page)
        assert lines_of(ledger) == exported
    ledger.close()


def test_an_empty_ledger_is_an_empty_file(url: str) -> None:
    ledger = Ledger(url)
    assert lines_of(ledger) == []
    assert verify_export([]) == 0
    ledger.close()


def test_a_copy_from_earlier_is_the_beginning_of_a_later_one(exported: list[str], url: str) -> None:
    ledger = Ledger(url)
    ledger.decide(draft(COUNT))
    later = lines_of(ledger)
    ledger.close()
    assert later[:COUNT] == exported
    assert verify_export(later) == COUNT + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(line=st.integers(0, COUNT - 1), place=st.integers(0, 2000), replacement=st.characters(codec="utf-8"))
def test_any_changed_character_is_found(exported: list[str], line: int, place: int, replacement: str) -> None:
    content = exported[line].rstrip("\n")
    place %= len(content)
    changed = content[:place] + replacement + content[place + 1 :]
    if changed == content:
        return
    with pytest.raises(BrokenChain):
        verify_export([*exported[:line], changed + "\n", *exported[line + 1 :]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "expected decision 1 here"),
        (lambda lines: [lines[0], *lines[2:]], "expected decision 2 here"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "expected decision 1 here"),
        (lambda lines: [lines[0], *lines], "expected decision 2 here"),
        (lambda lines: [*lines, "\n"], "its line is not JSON"),
        (lambda lines: ["[]", *lines], "its line is not that of a decision"),
        (lambda lines: [lines[0].replace('"key"', '"reason":"good","key"'), *lines[1:]], "not the canonical JSON"),
        (lambda lines: [lines[0].replace(",", ", "), *lines[1:]], "not the canonical JSON"),
    ],
)
def test_what_was_done_to_a_file_is_said(exported: list[str], change: object, message: str) -> None:
    with pytest.raises(BrokenChain, match=message):
        verify_export(change(exported))  # type: ignore[operator]


def test_a_decision_rewritten_with_a_hash_of_its_own_does_not_fit_the_next(exported: list[str]) -> None:
    forged = json.loads(exported[1]) | {"reason": "because I say so"}
    content = {name: value for name, value in forged.items() if name not in ("hash", "previous_hash")}
    forged["hash"] = chain_hash(forged["previous_hash"], content)
    with pytest.raises(BrokenChain, match="decision 3 of the ledger: it does not follow from the hash"):
        verify_export([exported[0], canonical_json(forged) + "\n", *exported[2:]])


def test_a_ledger_that_was_changed_is_not_exported_as_if_nothing_were(exported: list[str], url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE decisions SET reason = 'another' WHERE sequence = 3"))
    engine.dispose()
    ledger, stream = Ledger(url), io.StringIO()
    with pytest.raises(BrokenChain, match="decision 3 of the ledger: its hash is not that of its content"):
        export_ledger(ledger, stream)
    ledger.close()
    assert stream.getvalue() == "".join(exported[:2])
