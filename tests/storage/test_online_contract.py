"""What every online store must do; a new backend adds one line to STORES."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.online import KeyRefused, NestedWrite, OnlineStore

STORES: dict[str, Callable[[Path], OnlineStore]] = {
    "lmdb": LmdbOnline,
}


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    opened = request.param(tmp_path / "online")
    yield opened
    opened.close()


def put_all(store: OnlineStore, pairs: dict[bytes, bytes]) -> None:
    with store.write() as writer:
        for key, value in pairs.items():
            writer.put(key, value)


def test_values_come_back_in_the_order_asked(store: OnlineStore) -> None:
    put_all(store, {b"a": b"1", b"b": b"2", b"\x00\xff": b""})
    with store.read() as reader:
        assert reader.get_many([b"b", b"none", b"a", b"\x00\xff", b"b"]) == [b"2", None, b"1", b"", b"2"]
        assert reader.get_many([]) == []
        assert (reader.get(b"a"), reader.get(b"none")) == (b"1", None)


def test_put_replaces_and_delete_removes(store: OnlineStore) -> None:
    put_all(store, {b"a": b"1", b"b": b"2"})
    with store.write() as writer:
        writer.put(b"a", b"new")
        writer.delete(b"b")
        writer.delete(b"never there")
    assert list(store.scan(b"")) == [(b"a", b"new")]


def test_a_writer_sees_its_own_work_and_others_do_not(store: OnlineStore) -> None:
    put_all(store, {b"a": b"1"})
    with store.write() as writer:
        writer.put(b"a", b"2")
        assert writer.get(b"a") == b"2"
        assert writer.get_many([b"a", b"b"]) == [b"2", None]
        with store.read() as reader:
            assert reader.get(b"a") == b"1"
    with store.read() as reader:
        assert reader.get(b"a") == b"2"


def test_a_snapshot_stays_what_it_was(store: OnlineStore) -> None:
    put_all(store, {b"a": b"1", b"b": b"1"})
    with store.read() as reader:
        assert reader.get(b"a") == b"1"
        put_all(store, {b"a": b"2", b"b": b"2"})
        assert reader.get_many([b"a", b"b"]) == [b"1", b"1"]


def test_an_exception_undoes_the_whole_transaction(store: OnlineStore) -> None:
    put_all(store, {b"a": b"1"})

    def fail_half_way() -> None:
        with store.write() as writer:
            writer.put(b"a", b"2")
            writer.put(b"b", b"2")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(store.scan(b"")) == [(b"a", b"1")]


def test_delete_prefix_removes_what_starts_with_it_and_nothing_else(store: OnlineStore) -> None:
    put_all(store, dict.fromkeys((b"a", b"ab", b"ab\x00", b"abc", b"ab\xff\xff", b"ac", b"b"), b""))
    store.delete_prefix(b"ab")
    assert [key for key, _ in store.scan(b"")] == [b"a", b"ac", b"b"]
    store.delete_prefix(b"nobody")
    store.delete_prefix(b"")
    assert list(store.scan(b"")) == []


def test_a_writer_deletes_a_prefix_with_all_else_it_does_or_not_at_all(store: OnlineStore) -> None:
    put_all(store, {b"a": b"1", b"ab": b"1", b"b": b"1"})

    def delete_and_fail() -> None:
        with store.write() as writer:
            writer.delete_prefix(b"")
            assert writer.get(b"a") is None
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        delete_and_fail()
    assert [key for key, _ in store.scan(b"")] == [b"a", b"ab", b"b"]
    with store.write() as writer:
        writer.put(b"ac", b"1")
        writer.delete_prefix(b"a")
        writer.put(b"a", b"2")
    assert list(store.scan(b"")) == [(b"a", b"2"), (b"b", b"1")]


def test_scan_is_one_snapshot(store: OnlineStore) -> None:
    put_all(store, {b"%03d" % number: b"1" for number in range(100)})
    scan = store.scan(b"0")
    first = next(scan)
    put_all(store, {b"%03d" % number: b"2" for number in range(200)})
    assert {value for _, value in [first, *scan]} == {b"1"}


@pytest.mark.parametrize("key", [b"", b"k" * 512], ids=["empty", "too long"])
def test_keys_that_cannot_be_held_are_refused(store: OnlineStore, key: bytes) -> None:
    with store.write() as writer:
        writer.put(b"k" * 511, b"the longest")
        with pytest.raises(KeyRefused, match=f"expected 1 to 511 bytes, got {len(key)}") as caught:
            writer.put(key, b"")
        assert caught.value.key == key
        writer.delete(key)
    with store.read() as reader:
        assert reader.get(key) is None
        assert reader.get_many([b"k" * 511, key, b"k" * 511]) == [b"the longest", None, b"the longest"]


def test_a_write_inside_a_write_is_refused(store: OnlineStore) -> None:
    with store.write() as writer:
        writer.put(b"a", b"1")
        with pytest.raises(NestedWrite, match="got one inside another"):
            store.delete_prefix(b"")
        writer.put(b"b", b"2")
    assert list(store.scan(b"")) == [(b"a", b"1"), (b"b", b"2")]


def test_writers_wait_for_each_other(store: OnlineStore) -> None:
    def count_up(_: int) -> None:
        for _ in range(25):
            with store.write() as writer:
                writer.put(b"n", b"%d" % (int(writer.get(b"n") or b"0") + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, range(8)))
    with store.read() as reader:
        assert reader.get(b"n") == b"200"


def test_readers_in_threads_see_whole_transactions(store: OnlineStore) -> None:
    keys = [b"a", b"b", b"c"]
    put_all(store, dict.fromkeys(keys, b"0"))

    def differing_snapshots(_: int) -> int:
        differing = 0
        for _ in range(300):
            with store.read() as reader:
                differing += len(set(reader.get_many(keys))) > 1
        return differing

    with ThreadPoolExecutor(8) as pool:
        reading = [pool.submit(differing_snapshots, number) for number in range(8)]
        for number in range(200):
            put_all(store, dict.fromkeys(keys, b"%d" % number))
    assert sum(future.result() for future in reading) == 0


def test_a_store_opened_twice_is_one(store: OnlineStore, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    other = type(store)(tmp_path / "online")  # type: ignore[call-arg]
    put_all(store, {b"a": b"1"})
    assert list(other.scan(b"")) == [(b"a", b"1")]
    other.close()
    put_all(store, {b"a": b"2"})
    assert list(store.scan(b"")) == [(b"a", b"2")]


def test_a_closed_store_refuses(store: OnlineStore) -> None:
    store.close()
    store.close()
    with pytest.raises(ValueError, match="expected an open online store"):
        store.read()


KEYS = st.binary(min_size=1, max_size=3)
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=12)


@pytest.mark.parametrize("open_store", STORES.values(), ids=list(STORES))
@settings(deadline=None)
@given(transactions=st.lists(st.tuples(CHANGES, st.booleans()), max_size=6), prefix=st.binary(max_size=2))
def test_equals_a_dictionary(
    open_store: Callable[[Path], OnlineStore],
    tmp_path_factory: pytest.TempPathFactory,
    transactions: list[tuple[list[tuple[bytes, bytes | None]], bool]],
    prefix: bytes,
) -> None:
    store, expected = open_store(tmp_path_factory.mktemp("online")), dict[bytes, bytes]()
    for changes, commits in transactions:
        after = dict(expected)
        try:
            with store.write() as writer:
                for key, value in changes:
                    if value is None:
                        writer.delete(key)
                        after.pop(key, None)
                    else:
                        writer.put(key, value)
                        after[key] = value
                if not commits:
                    raise KeyboardInterrupt
            expected = after
        except KeyboardInterrupt:
            pass
    assert list(store.scan(prefix)) == sorted(item for item in expected.items() if item[0].startswith(prefix))
    store.delete_prefix(prefix)
    assert dict(store.scan(b"")) == {key: value for key, value in expected.items() if not key.startswith(prefix)}
    store.close()


def test_many_values_are_set_as_one_by_one(store: OnlineStore) -> None:
    items = [(b"b", b"2"), (b"a", b"1"), (b"a", b"3"), (b"c", b"")]
    with store.write() as writer:
        writer.put(b"c", b"old")
        writer.put_many(items)
        writer.put_many([])
        assert writer.get_many([b"a", b"b", b"c"]) == [b"3", b"2", b""]
    with store.read() as reader:
        assert reader.get_many([b"a", b"b", b"c"]) == [b"3", b"2", b""]
    with pytest.raises(KeyRefused), store.write() as writer:
        writer.put_many([(b"d", b"4"), (b"", b"5")])
    with store.read() as reader:
        assert reader.get(b"d") is None
