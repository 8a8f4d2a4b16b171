"""A line-up is tried before it answers, so that no call waits for what is made at its first use."""

import time
from contextlib import suppress

from charkha.features.ages import stamps
from charkha.features.online import fetch
from charkha.serving.lineup import LineUp
from charkha.serving.scoring import Question, batch_of, score
from charkha.storage.online import OnlineStore

# Few rows and many may be computed in different ways.
SIZES = (1, 64)


def warm(lineup: LineUp, online: OnlineStore, time_us: int) -> None:
    """Let every version score rows of nulls, of which nothing is kept; `on_request` functions are called for them too.

    time_us: as of when.
    """
    for size in SIZES:
        rows = [(None,) * len(lineup.fields)] * size
        asked = {field: [None] * size for field in lineup.fields}
        # What fails here fails in calls as well, and is told there.
        with suppress(Exception):
            with online.read() as reader:
                fetched = [fetch(plan, reader, asked) for plan in lineup.plans]
            now_ns = time.perf_counter_ns()
            question = Question(lineup, rows, asked, time_us, None, now_ns, now_ns, fetched)
            batch = batch_of([question], range(len(fetched)))
            for player in (*lineup.players, *([lineup.former] if lineup.former else [])):
                with suppress(Exception):
                    score(player, batch)
                    stamps(lineup.plans[player.plan], fetched[player.plan])
