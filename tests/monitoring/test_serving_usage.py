"""What workers wrote of what they use comes into the ledger once, whatever dies in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from served_world import MODEL

from charkha.monitoring.serving_usage import meter_serving
from charkha.serving.vitals_log import FORMAT, MINUTE_US, VitalsRecord, encode_vitals, vitals_stream
from charkha.spec.durations import DAY_US
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import WHOLE, Ledger


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as opened:
        yield opened


def write(home: Home, minute: int, replica: str, rows: int, cpu_us: int | None = 1_000_000) -> None:
    record = VitalsRecord(
        FORMAT, minute * MINUTE_US, replica, {200: rows}, 1, rows, {}, ({},) * 5, None, 0, cpu_us, 500_000, 2 * 10**9
    )
    writer = home.log.writer(vitals_stream(MODEL.name), replica)
    writer.append([encode_vitals(record)])
    writer.close()


def test_minutes_add_up_by_day_and_replica(home: Home) -> None:
    day = DAY_US // MINUTE_US
    for minute, replica, rows in ((0, "w0", 10), (1, "w0", 20), (1, "w1", 5), (day, "w0", 1)):
        write(home, minute, replica, rows)
    assert meter_serving(home, MODEL) == 4
    found = {each.id: each for each in home.ledger.usage(MODEL.name, kind="serving")}
    first = f"{MODEL.name}/serving/1970-01-01"
    assert {name: (each.rows, each.cpu_seconds) for name, each in found.items()} == {
        f"{first}#w0/serving": (30, 2.0),
        f"{first}#w0/whole": (30, 3.0),
        f"{first}#w1/serving": (5, 1.0),
        f"{first}#w1/whole": (5, 1.5),
        f"{MODEL.name}/serving/1970-01-02#w0/serving": (1, 1.0),
        f"{MODEL.name}/serving/1970-01-02#w0/whole": (1, 1.5),
    }
    of_first = found[f"{first}#w0/serving"]
    assert (of_first.team, of_first.memory_gb_seconds, of_first.peak_bytes) == (MODEL.owner, 240.0, 2 * 10**9)
    assert (of_first.read_bytes, of_first.gpu_seconds) == (None, 0.0)


def test_nothing_is_counted_twice_and_nothing_is_lost(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Killed

    write(home, 0, "w0", 10)
    assert (meter_serving(home, MODEL), meter_serving(home, MODEL)) == (1, 0)
    write(home, 1, "w0", 7)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record_usage", dies)
        with pytest.raises(Killed):
            meter_serving(home, MODEL)
    assert meter_serving(home, MODEL) == 1
    (whole,) = [each for each in home.ledger.usage(MODEL.name) if each.stage == WHOLE]
    assert (whole.rows, whole.cpu_seconds) == (17, 3.0)


def test_workers_that_measure_nothing_and_records_that_nobody_can_read_are_left_out(home: Home) -> None:
    write(home, 0, "w0", 10, cpu_us=None)
    writer = home.log.writer(vitals_stream(MODEL.name), "w5")
    writer.append([b"no vitals"])
    writer.close()
    assert meter_serving(home, MODEL) == 2
    assert home.ledger.usage(MODEL.name) == []


def test_a_team_is_the_owner_of_then(home: Home) -> None:
    write(home, 0, "w0", 10)
    meter_serving(home, MODEL)
    write(home, DAY_US // MINUTE_US, "w0", 10)
    meter_serving(home, evolve(MODEL, owner="others"))
    assert {each.team for each in home.ledger.usage(MODEL.name)} == {MODEL.owner, "others"}
