"""What every log must do; a new backend adds one line to LOGS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from charkha.storage.log import Log, Record, UnknownPosition
from charkha.storage.names import BadName
from charkha.storage.segment_log import SegmentLog

LOGS: dict[str, Callable[[Path], Log]] = {
    "segments": SegmentLog,
    "tiny segments": lambda folder: SegmentLog(folder, segment_bytes=50),
    "synced segments": lambda folder: SegmentLog(folder, fsync="always", segment_bytes=500),
}


@pytest.fixture(params=list(LOGS.values()), ids=list(LOGS))
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Log]:
    return lambda: request.param(tmp_path)


@pytest.fixture
def log(open_log: Callable[[], Log]) -> Log:
    return open_log()


def payloads(records: Iterator[Record]) -> list[bytes]:
    return [record.payload for record in records]


def test_records_come_back_in_order(log: Log) -> None:
    writer = log.writer("events", "web-0")
    writer.append([b"a", b"", b"c" * 1000])
    writer.append([b"d"])
    assert payloads(log.read("events")) == [b"a", b"", b"c" * 1000, b"d"]


def test_append_returns_the_end_and_offsets_touch(log: Log) -> None:
    writer = log.writer("events", "web-0")
    ends = [writer.append([bytes([number])] * 3) for number in range(20)]
    records = list(log.read("events"))
    assert [record.start for record in records] == [0, *(record.end for record in records[:-1])]
    assert ends == [record.end for record in records[2::3]]
    assert log.end("events") == {"web-0": ends[-1]}


def test_any_record_can_be_gone_on_from(log: Log) -> None:
    writer = log.writer("events", "web-0")
    for number in range(20):
        writer.append([b"x" * number, b"y"])
    records = list(log.read("events"))
    for index, record in enumerate(records):
        assert list(log.read("events", {"web-0": record.start})) == records[index:]
        assert list(log.read("events", {"web-0": record.end})) == records[index + 1 :]


def test_reading_ends_where_the_log_ended_at_the_call(log: Log) -> None:
    writer = log.writer("events", "web-0")
    writer.append([b"a"])
    reading = log.read("events")
    writer.append([b"b"])
    log.writer("events", "web-1").append([b"c"])
    assert payloads(reading) == [b"a"]


def test_partitions_come_in_name_order_each_in_its_own(log: Log) -> None:
    second, first = log.writer("events", "web-1"), log.writer("events", "web-0")
    for number in range(10):
        second.append([b"second %d" % number])
        first.append([b"first %d" % number])
    records = list(log.read("events"))
    assert [record.partition for record in records] == ["web-0"] * 10 + ["web-1"] * 10
    assert payloads(log.read("events")) == [b"first %d" % n for n in range(10)] + [b"second %d" % n for n in range(10)]


def test_a_partition_absent_from_the_position_is_read_from_its_first_record(log: Log) -> None:
    log.writer("events", "web-0").append([b"a"])
    position = log.end("events")
    log.writer("events", "web-1").append([b"b"])
    assert payloads(log.read("events", position)) == [b"b"]


def test_a_reader_that_polls_sees_everything_once(log: Log) -> None:
    writer, position, seen = log.writer("events", "web-0"), dict[str, int](), list[bytes]()
    for number in range(40):
        writer.append([b"%d" % number] * (number % 3))
        for record in log.read("events", position):
            position[record.partition] = record.end
            seen.append(record.payload)
    assert seen == [b"%d" % number for number in range(40) for _ in range(number % 3)]


def test_what_was_never_written_is_empty(log: Log) -> None:
    log.writer("silent", "web-0").close()
    for stream in ("silent", "unknown"):
        assert list(log.read(stream)) == []
        assert list(log.read(stream, {"web-0": 0})) == []
    assert log.end("unknown") == {}
    assert log.end("silent") == {"web-0": 0}


def test_appending_nothing_returns_the_end(log: Log) -> None:
    writer = log.writer("events", "web-0")
    assert writer.append([]) == 0
    end = writer.append([b"a"])
    assert writer.append([]) == end
    assert len(list(log.read("events"))) == 1


def test_streams_are_listed_and_apart(log: Log) -> None:
    for stream in ("predictions/late_arrival", "predictions", "labels/late_arrival"):
        log.writer(stream, "late_arrival").append([stream.encode()])
    assert log.streams() == ["labels/late_arrival", "predictions", "predictions/late_arrival"]
    assert payloads(log.read("predictions")) == [b"predictions"]
    assert payloads(log.read("predictions/late_arrival")) == [b"predictions/late_arrival"]


def test_a_log_without_streams_has_none(log: Log) -> None:
    assert log.streams() == []


def test_a_log_opened_again_goes_on(open_log: Callable[[], Log]) -> None:
    first = open_log().writer("events", "web-0")
    end = first.append([b"a", b"b"])
    first.close()
    again = open_log()
    assert again.end("events") == {"web-0": end}
    again.writer("events", "web-0").append([b"c"])
    assert payloads(again.read("events")) == [b"a", b"b", b"c"]


def test_two_writers_of_one_partition_take_turns(open_log: Callable[[], Log]) -> None:
    one, other = open_log().writer("events", "web-0"), open_log().writer("events", "web-0")
    ends = [writer.append([b"%d" % number] * 2) for number in range(20) for writer in (one, other)]
    assert ends == sorted(ends)
    assert payloads(open_log().read("events")) == [b"%d" % number for number in range(20) for _ in range(4)]


def test_threads_share_a_writer(log: Log) -> None:
    writer = log.writer("events", "web-0")
    threads = [
        Thread(target=lambda name=name: [writer.append([b"%d %d" % (name, n)] * 2) for n in range(50)])
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = payloads(log.read("events"))
    assert seen[::2] == seen[1::2]
    for name in range(4):
        mine = [payload for payload in seen[::2] if payload.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, number) for number in range(50)]


def test_a_position_beyond_the_end_is_refused(log: Log) -> None:
    end = log.writer("events", "web-0").append([b"a"])
    for partition, offset, found in (("web-0", end + 1, end), ("web-1", 7, 0)):
        with pytest.raises(UnknownPosition, match="or build the derived state anew") as caught:
            log.read("events", {partition: offset})
        assert (caught.value.partition, caught.value.offset, caught.value.end) == (partition, offset, found)


def test_a_position_inside_a_record_is_refused(log: Log) -> None:
    log.writer("events", "web-0").append([b"a" * 100, b"b" * 100])
    for offset in (1, 50, 111, 113):
        with pytest.raises(UnknownPosition):
            list(log.read("events", {"web-0": offset}))


def test_a_closed_writer_refuses(log: Log) -> None:
    writer = log.writer("events", "web-0")
    writer.append([b"a"])
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="expected an open writer"):
        writer.append([b"b"])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../out", "a/../../b", "/etc", "a//b", "a/", "a b", "a\x00b", "ä", "a=b"]
)
def test_names_that_could_lead_out_are_refused(log: Log, name: str, tmp_path: Path) -> None:
    with pytest.raises(BadName, match=r"^stream: expected"):
        log.writer(name, "web-0")
    with pytest.raises(BadName, match=r"^stream: expected"):
        log.read(name)
    with pytest.raises(BadName, match=r"^partition: expected"):
        log.writer("events", name)
    assert list(tmp_path.iterdir()) == []


def test_a_partition_is_one_piece(log: Log) -> None:
    with pytest.raises(BadName, match="'web/0'"):
        log.writer("events", "web/0")


def test_a_partition_is_read_alone_from_an_offset(log: Log) -> None:
    writer, other = log.writer("s", "a"), log.writer("s", "b")
    middle = writer.append([b"1", b"2"])
    other.append([b"x"])
    end = writer.append([b"3"])
    assert [record.payload for record in log.read_partition("s", "a", 0)] == [b"1", b"2", b"3"]
    assert [record[:3] for record in log.read_partition("s", "a", middle)] == [("a", middle, end)]
    assert not list(log.read_partition("s", "a", end))
    assert not list(log.read_partition("s", "none", 0))
    log.seal("s", "a")
    writer.append([b"4"])
    assert [record.payload for record in log.read_partition("s", "a", middle)] == [b"3", b"4"]
    for stretch in log.sealed("s"):
        log.drop("s", stretch)
    with pytest.raises(UnknownPosition):
        next(log.read_partition("s", "a", middle))
