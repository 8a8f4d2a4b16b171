"""The command line: one file per command, and everything that a command needs imported only when it runs."""

import gc
import sys
from collections.abc import Sequence

INTERRUPTED = 130
# Commands hold much and make few cycles: looking for cycles after every 700 new objects took a tenth of a replay.
_COLLECT_AFTER = (50_000, 20, 100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; 130 when it was stopped with Ctrl-C, even while it was loading."""
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        from charkha.cli.commands import run

        run(arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
