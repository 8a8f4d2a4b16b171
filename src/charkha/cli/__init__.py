"""The command line: one file per command, and everything that a command needs imported only when it runs."""

import sys
from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; 130 when it was stopped with Ctrl-C, even while it was loading."""
    try:
        from charkha.cli.commands import run

        run(arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
