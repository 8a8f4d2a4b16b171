"""The ledger's database: opened and brought up to date, with one kind of transaction to read and one to write."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from charkha.storage.forks import renewed_after_fork
from charkha.storage.ledger.errors import UnusableLedger
from charkha.storage.ledger.schema import HEAD, REVISION_TABLE
from charkha.storage.locks import locked

_BUSY_MILLISECONDS = 60_000
_EXPECTED = "expected the URL of a SQLite file, such as sqlite:////srv/charkha/ledger.db"


class Database:
    """A SQLite database in WAL mode, migrated to the newest schema.

    url: such as "sqlite:////srv/charkha/ledger.db". sync: have the disk confirm each commit.
    Raises UnusableLedger for another kind of database, or one that a newer version of Charkha wrote.
    """

    def __init__(self, url: str | URL, *, sync: bool) -> None:
        self._url = _sqlite_url(url)
        self._engine = _engine(self._url, sync)
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        renewed_after_fork(self)
        try:
            if self._revision() != HEAD:
                self._migrate()
        except BaseException as error:
            self.close()
            if isinstance(error, DatabaseError):
                raise UnusableLedger(str(self._url), f"{_EXPECTED}; SQLite says: {error.orig}") from error
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the ledger."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open the one write transaction of all processes, waiting for it up to a minute; undone on an exception."""
        with self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._engine.dispose(close=False)

    def _revision(self) -> str | None:
        with self.reading() as connection:
            if not inspect(connection).has_table(REVISION_TABLE):
                return None
            return connection.execute(text(f"SELECT version_num FROM {REVISION_TABLE}")).scalar()

    def _migrate(self) -> None:
        # The lock beside the file also covers the change to WAL mode, which SQLite does not wait for.
        with locked(Path(f"{self._url.database}.lock")):
            revision = self._revision()
            if revision == HEAD:
                return
            from charkha.storage.migrations.upgrade import known_revisions, upgrade

            if revision is not None and revision not in known_revisions():
                reason = (
                    f"expected a schema up to revision {HEAD}, found {revision}: a newer version of Charkha wrote it. "
                    f"Install that version, or point at another ledger."
                )
                raise UnusableLedger(str(self._url), reason)
            with self._engine.connect() as connection:
                _dbapi(connection).execute("PRAGMA journal_mode = WAL")
            with self.writing() as connection:
                upgrade(connection)


class FencedDatabase:
    """A database that only some may write to: `fence` is asked first in each write transaction, and may raise."""

    def __init__(self, database: "Database | FencedDatabase", fence: Callable[[Connection], None]) -> None:
        self._database, self._fence = database, fence

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a transaction as `Database.reading` does."""
        return self._database.reading()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction as `Database.writing` does. Raises what the fence raises."""
        with self._database.writing() as connection:
            self._fence(connection)
            yield connection

    def close(self) -> None:
        """Close all connections, also those of the database behind the fence."""
        self._database.close()


def _sqlite_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UnusableLedger(str(url), _EXPECTED) from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise UnusableLedger(parsed.render_as_string(), _EXPECTED)
    return parsed


def _engine(url: URL, sync: bool) -> Engine:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver would begin transactions by itself, too late and never IMMEDIATE: `begin` below does it.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _dbapi(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
