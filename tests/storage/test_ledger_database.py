"""The ledger on SQLite: opened, migrated, killed, tampered with."""

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

from charkha.storage.ledger import Assignment, BrokenChain, Draft, Ledger, UnusableLedger
from charkha.storage.ledger.schema import HEAD, METADATA, REVISION_TABLE
from charkha.storage.migrations.upgrade import known_revisions

CHAMPION = Assignment("v1", "champion")


def ledger_at(path: Path) -> Ledger:
    return Ledger(f"sqlite:///{path}")


def decide(ledger: Ledger, count: int) -> None:
    for number in range(count):
        draft = Draft(f"key {number}", number, "late", "operator", "promote", "because", {"n": number})
        ledger.decide(draft, deploy=[CHAMPION])


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
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.executescript(
            "DROP TABLE usage; DROP TABLE incidents; DROP TABLE api_keys;"
            f"UPDATE {REVISION_TABLE} SET version_num = '0001'"
        )
    connection.close()
    ledger = ledger_at(tmp_path / "ledger.db")
    assert ledger.verify() == 3
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
