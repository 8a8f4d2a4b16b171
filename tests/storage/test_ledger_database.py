"""The ledger on SQLite: opened, migrated, killed, tampered with."""

import json
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from killed_children import CONTEXT, decide_forever, make_and_revoke_forever, open_and_decide, run_and_kill
from sqlalchemy import create_engine

from charkha.storage.ledger import Assignment, BrokenChain, ChangedDeployment, Draft, Ledger, UnusableLedger, chain_hash
from charkha.storage.ledger.decisions import FIRST_PREVIOUS_HASH
from charkha.storage.ledger.schema import HEAD, METADATA, REVISION_TABLE
from charkha.storage.migrations.upgrade import known_revisions

CHAMPION = Assignment("v1", "champion")


def ledger_at(path: Path) -> Ledger:
    return Ledger(f"sqlite:///{path}")


def decide(ledger: Ledger, count: int) -> None:
    for number in range(count):
        draft = Draft(f"key {number}", number, "late", "operator", "promote", "because", {"n": number})
        ledger.decide(draft, deploy=[CHAMPION])


def before_assignments_were_covered(path: Path) -> None:
    """Make a ledger what revision 0004 would have written."""
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE decisions DROP COLUMN assignments")
        connection.execute(f"UPDATE {REVISION_TABLE} SET version_num = '0004'")
        connection.row_factory = sqlite3.Row
        previous = FIRST_PREVIOUS_HASH
        for row in connection.execute("SELECT * FROM decisions ORDER BY sequence").fetchall():
            content = dict(row) | {"evidence": json.loads(row["evidence"])}
            del content["hash"], content["previous_hash"]
            own = chain_hash(previous, content)
            values = (previous, own, row["sequence"])
            connection.execute("UPDATE decisions SET previous_hash = ?, hash = ? WHERE sequence = ?", values)
            previous = own
    connection.close()


def test_migrations_make_the_tables_that_the_code_declares(tmp_path: Path) -> None:
    ledger_at(tmp_path / "ledger.db").close()
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE, "compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()
    assert HEAD in known_revisions()


def test_a_ledger_of_an_older_version_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 3)
    ledger.close()
    before_assignments_were_covered(tmp_path / "ledger.db")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.executescript(
            "DROP TABLE usage; DROP TABLE incidents; DROP TABLE api_keys;"
            f"UPDATE {REVISION_TABLE} SET version_num = '0001'"
        )
    connection.close()
    ledger = ledger_at(tmp_path / "ledger.db")
    assert (ledger.verify(), ledger.uncovered_generations()) == (3, 3)
    assert ledger.generations() == {"late": 3}
    assert (ledger.api_keys(), ledger.incidents(), ledger.usage()) == ([], [], [])
    ledger.close()


def test_opening_an_up_to_date_ledger_loads_no_alembic_and_is_quick(tmp_path: Path) -> None:
    script = """
import sys, time
import sqlalchemy
from charkha.storage.ledger import Ledger
Ledger(sys.argv[1]).close()
began = time.thread_time()
Ledger(sys.argv[1]).close()
print(time.thread_time() - began, "alembic" in sys.modules)
"""
    ledger_at(tmp_path / "ledger.db").close()
    seconds, loaded = subprocess.run(
        [sys.executable, "-c", script, f"sqlite:///{tmp_path}/ledger.db"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == "False"
    assert float(seconds) < 0.03


def test_making_a_ledger_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        ledger_at(tmp_path / "new" / "ledger.db").close()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_processes_that_open_a_new_ledger_at_once_all_succeed(tmp_path: Path) -> None:
    url, go = f"sqlite:///{tmp_path}/ledger.db", CONTEXT.Event()
    children = [CONTEXT.Process(target=open_and_decide, args=(go, url, str(name))) for name in range(4)]
    for child in children:
        child.start()
    go.set()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    ledger = Ledger(url)
    assert ledger.verify() == 100
    assert ledger.generations() == {"late": 100}
    ledger.close()


def test_a_killed_process_loses_no_decision_and_leaves_no_half(tmp_path: Path) -> None:
    url, expected = f"sqlite:///{tmp_path}/ledger.db", 0
    ledger = Ledger(url)
    for instant in range(20):
        acknowledged = run_and_kill(decide_forever, url, expected, after_seconds=0.0017 * instant)
        expected = ledger.verify()
        assert expected - acknowledged in (0, 1)
        assert ledger.generations() == {"late": expected}
        assert [deployment.generation for deployment in ledger.deployments("late")] == list(range(1, expected + 1))
    ledger.close()


def test_a_killed_process_loses_no_key_and_no_revocation(tmp_path: Path) -> None:
    url, expected = f"sqlite:///{tmp_path}/ledger.db", 0
    ledger = Ledger(url)
    for instant in range(10):
        acknowledged = run_and_kill(make_and_revoke_forever, url, expected, after_seconds=0.0017 * instant)
        expected = ledger.verify()
        assert expected - acknowledged in (0, 1)
        assert ledger.api_keys_counted() == ((expected + 1) // 2, expected // 2)
        assert [key.revoked_us for key in ledger.api_keys()[: expected // 2]] == list(range(1, expected, 2))
    ledger.close()


@pytest.mark.parametrize(
    ("statement", "broken", "reason"),
    [
        ("UPDATE decisions SET reason = 'other' WHERE sequence = 3", 3, "its hash is not that of its content"),
        ("UPDATE decisions SET time_us = 0 WHERE sequence = 3", 3, "its hash is not that of its content"),
        ("UPDATE decisions SET generation = 1 WHERE sequence = 3", 3, "its hash is not that of its content"),
        ("""UPDATE decisions SET evidence = '{"n":7}' WHERE sequence = 3""", 3, "its hash is not that of its content"),
        ("UPDATE decisions SET evidence = 'n' WHERE sequence = 3", 3, "its evidence is not JSON"),
        ("UPDATE decisions SET hash = 'x' WHERE sequence = 5", 5, "its hash is not that of its content"),
        ("UPDATE decisions SET previous_hash = 'x' WHERE sequence = 4", 4, "it does not follow from the hash"),
        ("DELETE FROM decisions WHERE sequence = 2", 3, "expected decision 2 here"),
        ("DELETE FROM decisions WHERE sequence = 1", 2, "expected decision 1 here"),
        (
            "DELETE FROM decisions WHERE sequence = 5; DELETE FROM decisions WHERE sequence = 4;"
            "UPDATE decisions SET sequence = 4, key = 'x' WHERE sequence = 3",
            4,
            "expected decision 3 here",
        ),
    ],
)
def test_what_is_changed_afterwards_is_found(tmp_path: Path, statement: str, broken: int, reason: str) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 5)
    assert ledger.verify() == 5
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.executescript(statement)
    connection.close()
    with pytest.raises(BrokenChain, match=reason) as caught:
        ledger.verify()
    assert caught.value.sequence == broken
    ledger.close()


@pytest.mark.parametrize(
    ("statement", "generation", "problem"),
    [
        ("UPDATE assignments SET version = 'v9' WHERE generation = 2", 2, "decided was v1 .*, and what stands is v9 "),
        ("UPDATE assignments SET share = 0.5 WHERE generation = 3", 3, "what stands is v1 champion 0.5"),
        ("UPDATE assignments SET role = 'shadow' WHERE generation = 1", 1, "what stands is v1 shadow 1"),
        ("DELETE FROM assignments WHERE generation = 3", 3, "what stands is nobody"),
        ("INSERT INTO assignments VALUES ('late', 2, 1, 'v9', 'challenger', 0.5)", 2, "v9 challenger 0.5"),
        ("DELETE FROM deployments WHERE generation = 3", 3, "it was decided, and is not there"),
        ("UPDATE deployments SET since_us = 9 WHERE generation = 2", 2, "stands as that of decision 2 at 1970"),
        ("INSERT INTO deployments VALUES ('late', 4, 9, 4)", 4, "no decision made it"),
        ("INSERT INTO assignments VALUES ('early', 1, 0, 'v9', 'champion', 1)", 1, "no decision made it"),
    ],
)
def test_what_is_put_into_production_past_the_decisions_is_found(
    tmp_path: Path, statement: str, generation: int, problem: str
) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 3)
    ledger.decide(Draft("noted", 9, "late", "operator", "note", "nothing is deployed", {}))
    assert (ledger.verify(), ledger.uncovered_generations()) == (4, 0)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.executescript(statement)
    connection.close()
    with pytest.raises(ChangedDeployment, match=problem) as caught:
        ledger.verify()
    assert caught.value.generation == generation
    ledger.close()


@pytest.mark.parametrize("assigned", ["NULL", "'[]'", "'7'", """'[{"role":"champion","share":1.0,"version":"v9"}]'"""])
def test_what_was_decided_cannot_be_changed_with_what_stands(tmp_path: Path, assigned: str) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 2)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE assignments SET version = 'v9' WHERE generation = 2")
        connection.execute(f"UPDATE decisions SET assignments = {assigned} WHERE sequence = 2")
    connection.close()
    with pytest.raises(BrokenChain, match="decision 2 "):
        ledger.verify()
    ledger.close()


def test_a_ledger_that_began_before_assignments_were_covered_goes_on_and_holds(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 2)
    ledger.close()
    before_assignments_were_covered(tmp_path / "ledger.db")
    ledger = ledger_at(tmp_path / "ledger.db")
    for number in (2, 3):
        draft = Draft(f"key {number}", number, "late", "operator", "promote", "because", {})
        ledger.decide(draft, deploy=[Assignment("v1", "champion", 0.9), Assignment("v2", "challenger", 0.1)])
    assert (ledger.verify(), ledger.uncovered_generations()) == (4, 2)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE assignments SET version = 'v9' WHERE generation = 1")
    assert ledger.verify() == 4  # it was not covered, which is said
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE assignments SET share = 0.2 WHERE generation = 3 AND position = 1")
    connection.close()
    with pytest.raises(ChangedDeployment, match=r"generation 3 .*decided was v1 champion 0.9, v2 challenger 0.1"):
        ledger.verify()
    ledger.close()


def test_a_row_cannot_be_changed_and_hashed_anew_alone(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 3)
    forged = ledger_at(tmp_path / "forged.db")
    for number in range(3):
        forged.decide(Draft(f"key {number}", number, "late", "operator", "promote", "forged", {"n": number}))
    [row] = forged.decisions(after=1, limit=1)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE decisions SET hash = ? WHERE sequence = 2", [row.hash])
    connection.close()
    with pytest.raises(BrokenChain):
        ledger.verify()
    ledger.close()
    forged.close()


def test_foreign_keys_and_wal_are_on(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "ledger.db")
    decide(ledger, 1)
    with ledger._database.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
    ledger.close()


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    ledger_at(tmp_path / "ledger.db").close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(f"UPDATE {REVISION_TABLE} SET version_num = '9999'")
    connection.close()
    with pytest.raises(UnusableLedger, match="found 9999: a newer version of Charkha wrote it"):
        ledger_at(tmp_path / "ledger.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database, but long enough to be looked at closely" * 100)
    with pytest.raises(UnusableLedger, match="SQLite says: file is not a database"):
        ledger_at(tmp_path / "ledger.db")


@pytest.mark.parametrize("url", ["", "ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://host/db"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UnusableLedger, match="expected the URL of a SQLite file"):
        Ledger(url)


def test_a_password_is_not_in_the_error() -> None:
    with pytest.raises(UnusableLedger) as caught:
        Ledger("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


FORK = """
import os, sys
from charkha.storage.ledger import Ledger
ledger = Ledger(sys.argv[1])
ledger.set_checkpoint("parent", {})
child = os.fork()
for number in range(50):
    ledger.next_version("late", f"{child > 0} {number}")
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(ledger.next_version("late", "last"))
"""


def test_parent_and_forked_child_go_on_with_one_ledger(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, f"sqlite:///{tmp_path}/ledger.db"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "v101\n"
