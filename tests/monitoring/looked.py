"""A process that looks at a model for ever, to be killed while it writes."""

import sys

from diagnoses import NOW_US, diagnosis, healthy

from charkha.monitoring.diagnosis.incident import Culprit
from charkha.monitoring.diagnosis.incidents import observe
from charkha.spec.durations import HOUR_US
from charkha.storage.ledger import Ledger


def look(ledger: Ledger, number: int) -> None:
    """Make the look of a number: three days of a broken source, two without, then another source."""
    now_us, day = NOW_US + number * 6 * HOUR_US, number // 4
    if day % 5 < 3:
        observe(ledger, diagnosis(now_us, culprit=Culprit(sources=f"source {day // 5}"), began_us=now_us))
    else:
        observe(ledger, healthy(now_us))


def main() -> None:
    ledger, number = Ledger(sys.argv[1]), int(sys.argv[2])
    while True:
        look(ledger, number)
        number += 1
        print(number, flush=True)


if __name__ == "__main__":
    main()
