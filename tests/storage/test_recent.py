"""What is remembered for a while: by all who open the folder, no longer than said, in no more space than said."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from charkha.storage.key_locks import KeyLocks
from charkha.storage.recent import RecentValues

SECOND = 1_000_000
puts = st.lists(
    st.tuples(st.integers(0, 30 * SECOND), st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d"]), st.binary())),
    max_size=20,
).map(lambda each: sorted(each, key=lambda put: put[0]))


@given(puts=puts)
def test_the_newest_value_of_a_key_is_known_for_as_long_as_was_said(
    puts: list[tuple[int, dict[bytes, bytes]]], tmp_path_factory: object
) -> None:
    folder = tmp_path_factory.mktemp("recent")  # type: ignore[attr-defined]
    recent = RecentValues(folder, seconds=10.0)
    told: dict[bytes, tuple[int, bytes]] = {}
    for now_us, values in puts:
        recent.put(values, now_us)
        told |= {key: (now_us, value) for key, value in values.items()}
        for key, (at, value) in told.items():
            assert recent.get(key, now_us) == (value if at > now_us - 10 * SECOND else None)
    recent.close()


def test_the_oldest_are_forgotten_where_there_is_too_much(tmp_path: Path) -> None:
    recent = RecentValues(tmp_path, seconds=600.0, most_bytes=100_000)
    for number in range(3000):
        recent.put({f"{number:04}".encode(): bytes(1000 if number % 7 else 30_000)}, number)
    known = [number for number in range(3000) if recent.get(f"{number:04}".encode(), 3000) is not None]
    assert known == list(range(known[0], 3000))
    assert 3 <= len(known) <= 30
    assert (tmp_path / "data.mdb").stat().st_size <= 400_000
    recent.close()


def test_what_is_too_old_leaves_the_disk(tmp_path: Path) -> None:
    recent = RecentValues(tmp_path, seconds=1.0)
    for second in range(200):
        recent.put({f"{second}/{number}".encode(): bytes(5000) for number in range(10)}, second * SECOND)
    assert (tmp_path / "data.mdb").stat().st_size < 2_000_000
    recent.close()


OTHER = """
import sys
from pathlib import Path
from charkha.storage.key_locks import KeyLocks
locks = KeyLocks(Path(sys.argv[1]))
print(locks.try_lock(b"a" * 16), locks.try_lock(b"b" * 16), flush=True)
sys.stdin.readline()
"""


def test_a_key_is_locked_by_one_process_and_free_when_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "locks"
    mine = KeyLocks(path)
    assert mine.try_lock(b"a" * 16)
    command = [sys.executable, "-c", OTHER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "False True\n"
        assert not mine.try_lock(b"b" * 16)
        other.kill()
    assert mine.try_lock(b"b" * 16)
    mine.close()
