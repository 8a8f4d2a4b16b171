"""Bring a ledger up to date. Loads Alembic, so import it only when there is something to do."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

_FOLDER = Path(__file__).parent


def upgrade(connection: Connection) -> None:
    """Run the migrations that a ledger lacks, inside the transaction that `connection` is in."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def known_revisions() -> set[str]:
    """Return every revision there is a migration for."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    # The option is read with %-interpolation.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
