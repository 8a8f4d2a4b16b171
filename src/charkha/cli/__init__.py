"""The command line: one file per command, and everything that a command needs imported only when it runs."""

from charkha.cli.main import main

__all__ = ["main"]
