"""What serving used, from the vitals of the workers into the ledger: added up by the day, each record once.

How far the vitals were read is a checkpoint that is written together with what was found: killed at any instant, no
minute is counted twice and none is lost.
"""

from collections.abc import Iterable

from charkha.clock import to_iso
from charkha.governance.cost.serving import SERVING
from charkha.serving.vitals_log import MINUTE_US, UnreadableVitals, VitalsRecord, decode_vitals, vitals_stream
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import WHOLE, Usage
from charkha.storage.locks import locked
from charkha.storage.log import Record, UnknownPosition


def meter_serving(home: Home, model: Model) -> int:
    """Add what the workers wrote since the last time, and return how many minutes that were.

    Waits while another process does so. A record that cannot be read is left out. Raises LogCorrupt.
    """
    stream = vitals_stream(model.name)
    name = f"metered/{stream}"
    with locked(home.folder / ".metering"):
        position = dict(home.ledger.checkpoint(name) or {})
        try:
            records = list(home.log.read(stream, position))
        except UnknownPosition:  # what nobody metered in time was removed by retention
            records, position = [], dict(home.log.end(stream))
            home.ledger.set_checkpoint(name, position)
        if not records:
            return 0
        position |= {record.partition: record.end for record in records}
        usages = usages_of(model, _readable(records))
        home.ledger.record_usage(usages, checkpoint=(name, position))
    return len(records)


def usages_of(model: Model, records: Iterable[VitalsRecord]) -> list[Usage]:
    """Return what records tell, added up: for each day and replica a stage, its answers, and the whole.

    Of workers that measured nothing, as older ones, the rows count alone in none of them.
    """
    found: dict[str, Usage] = {}
    for record in records:
        if record.cpu_us is None:
            continue
        other_us = record.other_cpu_us or 0
        for stage, cpu_us in ((SERVING, record.cpu_us), (WHOLE, record.cpu_us + other_us)):
            usage = _usage(model, record, stage, cpu_us)
            found[usage.id] = found[usage.id].plus(usage) if usage.id in found else usage
    return list(found.values())


def _usage(model: Model, record: VitalsRecord, stage: str, cpu_us: int) -> Usage:
    day_us = record.minute_us // DAY_US * DAY_US
    run = f"{model.name}/serving/{to_iso(day_us)[:10]}"
    memory = record.memory_bytes
    seconds = MINUTE_US / 1e6
    return Usage(
        id=f"{run}#{record.replica}/{stage}",
        kind=SERVING,
        run=run,
        model=model.name,
        team=model.owner,
        stage=stage,
        began_us=record.minute_us,
        wall_seconds=seconds,
        cpu_seconds=cpu_us / 1e6,
        rows=record.rows,
        peak_bytes=memory,
        memory_gb_seconds=None if memory is None else memory / 1e9 * seconds,
        gpu_seconds=0.0,  # scores are computed on processors
    )


def _readable(records: Iterable[Record]) -> Iterable[VitalsRecord]:
    for record in records:
        try:
            yield decode_vitals(record.payload)
        except UnreadableVitals:
            continue
