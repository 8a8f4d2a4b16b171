"""Closed-loop load by `wrk`, on one thread: every connection asks again as soon as it was answered."""

import json
import shutil
from pathlib import Path

from attrs import frozen
from processes import run_well

MARK = "RESULT "
# Percentiles are of all answers, refusals among them. Those are quick: where a share `a` of the answers is accepted, no
# more than a hundredth of these is slower than what is exceeded by a hundredth times `a` of all.
SCRIPT = """
local requests, count, turn = {}, 0, 0
function init(arguments)
  for line in io.lines(%s) do
    count = count + 1
    requests[count] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
  end
end
function request()
  turn = turn %% count + 1
  return requests[turn]
end
function done(summary, latency, _)
  local errors = summary.errors
  local refused = 100 * errors.status / math.max(1, summary.requests)
  io.write(string.format(
    '\\n%s{"answers": %%d, "microseconds": %%d, "p50_us": %%d, "p95_us": %%d, "p99_us": %%d, ' ..
    '"accepted_p99_us": %%d, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    latency:percentile(math.min(99.999, 99 + refused / 100)), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class WrkMissing(Exception):
    """`wrk` is not installed."""

    def __init__(self) -> None:
        super().__init__("expected wrk, which makes the load, on the path. On Debian or Ubuntu: apt-get install wrk")


@frozen
class Target:
    """What is asked. bodies: a file of JSON, one body a line, sent in turn."""

    port: int
    path: str
    bodies: Path


@frozen
class Answers:
    """What a load was answered.

    seconds: how long it lasted. refused: answers with a status from 400 on. broken: connections that failed, and
    answers that did not come. accepted_p99_us: at least that of the answers that were no refusals.
    """

    answers: int
    seconds: float
    p50_us: float
    p95_us: float
    p99_us: float
    accepted_p99_us: float
    refused: int
    broken: int

    @property
    def qps(self) -> float:
        """Answers a second that were no refusals."""
        return (self.answers - self.refused) / self.seconds

    @property
    def failed(self) -> int:
        """Questions that were not answered as asked."""
        return self.refused + self.broken

    def __str__(self) -> str:
        times = f"p50 {self.p50_us / 1000:.1f}, p95 {self.p95_us / 1000:.1f}, p99 {self.p99_us / 1000:.1f} ms"
        failed = f", {self.refused:,} refused, {self.broken:,} broken" if self.failed else ""
        return f"{self.qps:,.0f} QPS, {times}{failed}"


def script(bodies: Path) -> str:
    """Return the Lua by which wrk sends the bodies of a file in turn, and says what it found."""
    return SCRIPT % (json.dumps(str(bodies)), MARK)


def closed_loop(target: Target, connections: int, seconds: float, folder: Path) -> Answers:
    """Load a server. folder: where wrk's script and what it says are put. Raises WrkMissing and Failed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WrkMissing
    lua, log = folder / "load.lua", folder / "wrk.log"
    lua.write_text(script(target.bodies))
    log.unlink(missing_ok=True)
    lasts = max(1, round(seconds))
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{lasts}s", "--timeout", "30s"]
    url = f"http://127.0.0.1:{target.port}{target.path}"
    run_well([wrk, *options, "--script", str(lua), url], log, timeout_seconds=lasts + 120)
    return answers(log.read_text())


def answers(said: str) -> Answers:
    """Return what wrk's last words say."""
    found = json.loads(said[said.rindex(MARK) + len(MARK) :].splitlines()[0])
    seconds = found.pop("microseconds") / 1e6
    return Answers(seconds=seconds, **found)
