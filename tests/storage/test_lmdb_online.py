"""LMDB's own corners: one environment per process, forks, killed processes, a full map, its speed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from killed_children import CONTEXT, count_up, fill, hold_a_transaction, run_and_kill

from charkha.storage import boots, lmdb_environment
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.online import OnlineStoreFull

FORK = """
import os, sys, threading, time
from pathlib import Path
from charkha.storage.lmdb_environment import OnlineStoreInherited
from charkha.storage import lmdb_environment
from charkha.storage.lmdb_online import LmdbOnline
store = LmdbOnline(Path(sys.argv[1]))
with store.write() as writer:
    writer.put(b"n", b"0")

def count_up(times):
    for _ in range(times):
        with store.write() as writer:
            writer.put(b"n", b"%d" % (int(writer.get(b"n")) + 1))

def wait_for(child):
    assert os.waitpid(child, 0)[1] == 0

if sys.argv[2] == "busy":
    threads = [threading.Thread(target=count_up, args=(200,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(5):
        child = os.fork()
        if child == 0:
            count_up(20)
            os._exit(0)
        children.append(child)
    for child in children:
        wait_for(child)
    for thread in threads:
        thread.join()
    with store.read() as reader:
        print(int(reader.get(b"n")))
else:
    with store.read() as reader:
        child = os.fork()
        if child == 0:
            try:
                store.read().__enter__()
            except OnlineStoreInherited as error:
                print("refused", flush=True)
            os._exit(0)
        wait_for(child)
        count_up(1)
        print(reader.get(b"n"))
    with store.read() as reader:
        print(reader.get(b"n"))
"""

OPEN_AFTER_ANOTHER_START = """
import sys
from pathlib import Path
from charkha.storage import boots
from charkha.storage.lmdb_online import LmdbOnline
boots._BOOT_ID = Path(sys.argv[2]) / "third"
boots._BOOT_ID.write_text("third")
print(dict(LmdbOnline(Path(sys.argv[1])).scan(b"")))
"""


def run_script(script: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_process_killed_in_a_transaction_leaves_nothing_behind(tmp_path: Path, way: str) -> None:
    store = LmdbOnline(tmp_path)
    with store.write() as writer:
        writer.put(b"1", b"committed")
    seen = run_and_kill(hold_a_transaction, tmp_path, way, after_seconds=0)
    assert seen == len(b"committed" if way == "read" else b"uncommitted")
    assert list(store.scan(b"")) == [(b"1", b"committed")]
    with store.write() as writer:
        writer.put(b"2", b"goes on")
    store.close()
    again = LmdbOnline(tmp_path)
    assert dict(again.scan(b"")) == {b"1": b"committed", b"2": b"goes on"}
    again.close()


def test_the_slot_of_a_killed_reader_is_freed_when_the_store_is_opened(tmp_path: Path) -> None:
    run_and_kill(hold_a_transaction, tmp_path, "read", after_seconds=0)
    store = LmdbOnline(tmp_path)
    assert list(store.scan(b"")) == []
    store.close()
    environment = lmdb.open(str(tmp_path), readonly=True)
    assert environment.readers() == "(no active readers)\n"
    environment.close()


def test_slots_of_killed_readers_are_freed_when_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_environment, "_MAX_READERS", 3)
    store = LmdbOnline(tmp_path)
    assert list(store.scan(b"")) == []
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(3)]
    children = [CONTEXT.Process(target=hold_a_transaction, args=(sending, tmp_path, "read")) for _, sending in pipes]
    for child, (receiving, _) in zip(children, pipes, strict=True):
        child.start()
        receiving.recv()
    with pytest.raises(lmdb.ReadersFullError):
        list(store.scan(b""))
    for child in children:
        child.kill()
        child.join()
    assert list(store.scan(b"")) == []
    store.close()


def test_a_store_that_another_process_has_outgrown_says_so(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path, map_bytes=1 << 20)
    assert list(store.scan(b"")) == []
    child = CONTEXT.Process(target=fill, args=(tmp_path,))
    child.start()
    child.join()
    with pytest.raises(OnlineStoreFull):
        list(store.scan(b""))
    store.close()


def test_two_processes_write_in_turns(tmp_path: Path) -> None:
    children = [CONTEXT.Process(target=count_up, args=(tmp_path,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    store = LmdbOnline(tmp_path)
    assert list(store.scan(b"")) == [(b"n", b"600")]
    store.close()


def test_parent_and_forked_children_go_on_with_one_store(tmp_path: Path) -> None:
    assert run_script(FORK, tmp_path, "busy") == "900\n"


def test_a_fork_inside_a_transaction_spares_the_parent_and_is_refused_to_the_child(tmp_path: Path) -> None:
    assert run_script(FORK, tmp_path, "inside") == "refused\nb'0'\nb'1'\n"


def test_a_full_store_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path, map_bytes=1 << 20)
    with store.write() as writer:
        writer.put(b"kept", b"value")

    def fill() -> None:
        with store.write() as writer:
            for number in range(10_000):
                writer.put(b"%d" % number, b"x" * 1000)

    with pytest.raises(OnlineStoreFull, match="expected to fit in 1048576 bytes") as caught:
        fill()
    assert (caught.value.folder, caught.value.map_bytes) == (tmp_path, 1 << 20)
    assert list(store.scan(b"")) == [(b"kept", b"value")]
    store.close()
    larger = LmdbOnline(tmp_path, map_bytes=1 << 26)
    with larger.write() as writer:
        for number in range(10_000):
            writer.put(b"%d" % number, b"x" * 1000)
    larger.close()


@pytest.fixture
def boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that names the present start of the machine, to be written by the test."""
    file = tmp_path / "boot_id"
    file.write_text("first\n")
    monkeypatch.setattr(boots, "_BOOT_ID", file)
    return file


def kept_over(folder: Path, meanwhile: Callable[[], object]) -> dict[bytes, bytes]:
    """Return what a store still has after something happened while it was closed."""
    store = LmdbOnline(folder)
    with store.write() as writer:
        writer.put(b"a", b"1")
    store.close()
    meanwhile()
    again = LmdbOnline(folder)
    found = dict(again.scan(b""))
    again.close()
    return found


def test_what_was_written_before_the_machine_started_anew_is_dropped_once(
    tmp_path: Path, boot_id: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "online"
    assert kept_over(folder, lambda: boot_id.write_text("second\n")) == {}
    assert f"{folder} was written before the machine started anew" in caplog.text
    assert kept_over(folder, lambda: None) == {b"a": b"1"}


def test_torn_files_of_an_earlier_start_are_not_even_looked_at(tmp_path: Path, boot_id: Path) -> None:
    def tear() -> None:
        (tmp_path / "online" / "data.mdb").write_bytes(b"\xff" * 5000)
        boot_id.write_text("second\n")

    assert kept_over(tmp_path / "online", tear) == {}


def test_where_a_start_of_the_machine_has_no_name_nothing_is_dropped(tmp_path: Path, boot_id: Path) -> None:
    assert kept_over(tmp_path / "online", boot_id.unlink) == {b"a": b"1"}


def test_what_another_process_has_open_is_never_dropped(tmp_path: Path, boot_id: Path) -> None:
    store = LmdbOnline(tmp_path / "online")
    with store.write() as writer:
        writer.put(b"a", b"1")
    child = run_script(OPEN_AFTER_ANOTHER_START, tmp_path / "online", tmp_path)
    assert child == "{b'a': b'1'}\n"
    store.close()
    assert run_script(OPEN_AFTER_ANOTHER_START, tmp_path / "online", tmp_path) == "{}\n"


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    LmdbOnline(tmp_path / "online").close()
    assert not (tmp_path / "online").exists()


def test_the_file_takes_no_more_than_it_holds(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    with store.write() as writer:
        writer.put(b"a", b"1")
    store.close()
    assert os.stat(tmp_path / "data.mdb").st_blocks * 512 < 1 << 20


def test_a_disk_that_is_full_before_the_commit_says_so_too(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)

    def spill() -> None:
        with store.write() as writer:
            writer.put(b"a", b"1")
            raise lmdb.DiskError("mdb_put: no space")

    with pytest.raises(OSError, match="No space left on device"):
        spill()
    assert list(store.scan(b"")) == []
    store.close()
