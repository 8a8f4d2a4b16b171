"""A ledger that was written anew holds in itself, and not to what was anchored of it."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from charkha.governance.audit import export_ledger, verify_export, verify_ledger
from charkha.operations.anchoring import anchor_if_due, anchor_now, require_anchored
from charkha.spec.anchors import AnchorPlaces
from charkha.spec.durations import DAY_US
from charkha.storage.ledger import AnchorsGone, BrokenAnchor, BrokenChain, Draft, Ledger
from charkha.storage.ledger.anchors import Anchor, append_anchor, check_anchors, read_anchors
from charkha.storage.ledger.decisions import FIRST_PREVIOUS_HASH, chain_hash

ANCHOR = Anchor(project="shop", sequence=1, hash="a" * 64, time="2026-03-01T00:00:00Z")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def decide(ledger: Ledger, count: int) -> None:
    begin = len(ledger.decisions())
    for number in range(begin, begin + count):
        ledger.decide(Draft(f"key {number}", number, "late", "operator", "promote", f"reason {number}", {"n": number}))


def write_anew(path: Path, sequence: int) -> None:
    """Change a decision's reason, and every hash from there on, as whoever may write to the database could."""
    with sqlite3.connect(path) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("select * from decisions order by sequence")]
        previous = FIRST_PREVIOUS_HASH
        for row in rows:
            if row["sequence"] == sequence:
                row["reason"] = "it was not me"
            content = {name: value for name, value in row.items() if name not in ("hash", "previous_hash")}
            del content["assignments"]  # these made no generation
            content["evidence"] = json.loads(row["evidence"])
            own = chain_hash(previous, content)
            values = (row["reason"], previous, own, row["sequence"])
            database.execute("update decisions set reason = ?, previous_hash = ?, hash = ? where sequence = ?", values)
            previous = own
    database.close()


def test_a_chain_that_was_written_anew_is_found_by_its_anchors(ledger: Ledger, tmp_path: Path) -> None:
    places = AnchorPlaces(tmp_path / "elsewhere" / "anchors.jsonl", None)
    decide(ledger, 3)
    (told,) = anchor_now(ledger, "shop", places, DAY_US)
    assert (told.trouble, told.anchor.sequence, told.anchor.time) == ("", 3, "1970-01-02T00:00:00Z")
    decide(ledger, 2)
    assert places.file is not None
    anchors = read_anchors(places.file, "shop")
    assert verify_ledger(ledger, anchors) == 5
    write_anew(tmp_path / "ledger.db", 2)
    assert ledger.verify() == 5  # in itself it holds
    with pytest.raises(BrokenChain, match=r"decision 3 .*not the one that was anchored at 1970-01-02"):
        verify_ledger(ledger, anchors)
    with (tmp_path / "copy.jsonl").open("w") as stream:
        export_ledger(ledger, stream)
    lines = (tmp_path / "copy.jsonl").read_text().splitlines(keepends=True)
    assert verify_export(lines) == 5
    with pytest.raises(BrokenChain, match="decision 3 "):
        verify_export(lines, anchors)


def test_what_was_decided_after_an_anchor_may_be_rewritten_unseen_and_no_more(ledger: Ledger, tmp_path: Path) -> None:
    decide(ledger, 4)
    anchors = [each.anchor for each in anchor_now(ledger, "shop", AnchorPlaces(tmp_path / "a", None), 0)]
    decide(ledger, 1)
    write_anew(tmp_path / "ledger.db", 5)
    assert verify_ledger(ledger, anchors) == 5
    write_anew(tmp_path / "ledger.db", 4)
    with pytest.raises(BrokenChain, match="decision 4 "):
        verify_ledger(ledger, anchors)


def test_a_chain_that_was_cut_short_is_found(ledger: Ledger, tmp_path: Path) -> None:
    decide(ledger, 3)
    anchors = [each.anchor for each in anchor_now(ledger, "shop", AnchorPlaces(tmp_path / "a", None), 0)]
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("delete from decisions where sequence = 3")
    database.close()
    assert ledger.verify() == 2
    with pytest.raises(BrokenChain, match=r"decision 3 .*anchored at 1970-01-01T00:00:00Z, and is not there"):
        verify_ledger(ledger, anchors)


def test_an_older_export_is_held_to_the_anchors_up_to_its_end(ledger: Ledger, tmp_path: Path) -> None:
    decide(ledger, 2)
    with (tmp_path / "copy.jsonl").open("w") as stream:
        export_ledger(ledger, stream)
    decide(ledger, 2)
    anchors = [each.anchor for each in anchor_now(ledger, "shop", AnchorPlaces(tmp_path / "a", None), 0)]
    assert verify_export((tmp_path / "copy.jsonl").read_text().splitlines(), anchors) == 2


def test_the_operator_anchors_on_schedule_and_only_what_is_new(ledger: Ledger, tmp_path: Path) -> None:
    places = AnchorPlaces(tmp_path / "anchors.jsonl", None, "1d")
    assert anchor_if_due(ledger, "shop", places, DAY_US) == []  # nothing was decided yet
    decide(ledger, 1)
    assert len(anchor_if_due(ledger, "shop", places, 2 * DAY_US)) == 1
    decide(ledger, 1)
    assert anchor_if_due(ledger, "shop", places, 3 * DAY_US - 1) == []
    assert [each.anchor.sequence for each in anchor_if_due(ledger, "shop", places, 3 * DAY_US)] == [2]
    assert anchor_if_due(ledger, "shop", places, 9 * DAY_US) == []
    assert [each.sequence for each in read_anchors(tmp_path / "anchors.jsonl", "shop")] == [1, 2]


@pytest.mark.parametrize("left", [None, "", ANCHOR.line])
def test_a_file_that_lacks_what_was_written_to_it_is_found(ledger: Ledger, tmp_path: Path, left: str | None) -> None:
    file = tmp_path / "anchors.jsonl"
    assert not require_anchored(ledger, file, [])  # it never was
    decide(ledger, 2)
    anchors = [each.anchor for each in anchor_now(ledger, "shop", AnchorPlaces(file, None), 0)]
    assert require_anchored(ledger, file, anchors)
    if left is None:
        file.unlink()
    else:
        file.write_text(left)
    there = read_anchors(file, "shop") if file.exists() else []
    with pytest.raises(AnchorsGone, match="expected the anchor of decision 2") as gone:
        require_anchored(ledger, file, there)
    assert gone.value.there == (left is not None)
    assert require_anchored(ledger, file, anchors)  # found elsewhere


def test_who_dies_before_it_is_noted_adds_no_second_line(ledger: Ledger, tmp_path: Path) -> None:
    decide(ledger, 1)
    places = AnchorPlaces(tmp_path / "anchors.jsonl", None)
    anchor_now(ledger, "shop", places, 0)
    anchor_now(ledger, "shop", places, DAY_US)
    assert len((tmp_path / "anchors.jsonl").read_text().splitlines()) == 1


def test_a_place_that_cannot_be_written_is_said_and_tried_again(ledger: Ledger, tmp_path: Path) -> None:
    decide(ledger, 1)
    (tmp_path / "file").write_text("in the way")
    places = AnchorPlaces(tmp_path / "file" / "anchors.jsonl", None)
    (told,) = anchor_if_due(ledger, "shop", places, 2 * DAY_US)
    assert "Not a directory" in told.trouble
    (tmp_path / "file").unlink()
    (told,) = anchor_if_due(ledger, "shop", places, 2 * DAY_US + 1)
    assert told.trouble == ""


def test_a_line_that_was_cut_off_is_told_and_the_next_begins_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    append_anchor(path, ANCHOR)
    with path.open("a") as file:
        file.write('{"hash": "b')
    with pytest.raises(BrokenAnchor, match="the last line: expected an anchor"):
        append_anchor(path, evolve(ANCHOR, sequence=2))
    with pytest.raises(BrokenAnchor, match="line 2: expected an anchor"):
        read_anchors(path, None)
    os.truncate(path, len(ANCHOR.line) - 1)
    assert append_anchor(path, evolve(ANCHOR, sequence=2))
    assert [each.sequence for each in read_anchors(path, "shop")] == [1, 2]
    assert read_anchors(path, "another") == []


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.data())
def test_any_other_hash_at_any_anchor_is_found(hashes: list[str], data: st.DataObject) -> None:
    anchors = [evolve(ANCHOR, sequence=number, hash=each) for number, each in enumerate(hashes)]
    held = dict(enumerate(hashes))
    assert check_anchors(anchors, held.get) == len(anchors)
    at = data.draw(st.sampled_from(range(len(hashes))))
    with pytest.raises(BrokenChain) as broken:
        check_anchors(anchors, {**held, at: data.draw(st.sampled_from(["e", "f"]))}.get)
    assert broken.value.sequence == at
