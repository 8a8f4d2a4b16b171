"""Schemathesis on a server's OpenAPI document: what it answers is what the document says, and never its own fault."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from processes import last_words, run

# What JSON Schema cannot say, and so is no fault: -1.0 is an integer to it and none to us, a tensor has as many values
# as its shape says, a key comes with one body, and a header that nobody asked for is let pass, as HTTP has it.
EXCLUDED = ("negative_data_rejection", "positive_data_acceptance")
PHASES = "examples,coverage,fuzzing,stateful"
_STOP_SECONDS = 120.0


@frozen
class Conformance:
    """What Schemathesis found. cases: it sent. failures: in words, none where all was as documented."""

    cases: int
    failures: tuple[str, ...]


def conformance(port: int, seed: int, seconds: float, folder: Path) -> Conformance:
    """Run it for so long. folder: for its report. Raises RuntimeError where it says nothing."""
    report, log = folder / "conformance.json", folder / "schemathesis.log"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{port}/openapi.json"),
        *("--checks", "all", "--exclude-checks", ",".join(EXCLUDED), "--phases", PHASES, "--seed", str(seed)),
        *("--max-time", str(max(1, round(seconds))), "--request-timeout", "20", "--continue-on-failure"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        *("--report", "json", "--report-json-path", str(report)),
    ]
    run(command, log, timeout_seconds=seconds + _STOP_SECONDS, cwd=folder)
    if not report.exists():
        raise RuntimeError(f"expected Schemathesis to report, but it said: {last_words(log)}")
    return read_report(json.loads(report.read_text()))


def read_report(report: Mapping[str, Any]) -> Conformance:
    """Return what a report in JSON says."""
    failures = [
        f"{each['code']} {each['title']}: {', '.join(map(str, each['operations']))}" for each in report["failures"]
    ]
    errors = [f"an error of its own: {str(each)[:300]}" for each in report["errors"]]
    return Conformance(report["test_cases"]["generated"], (*failures, *errors))
