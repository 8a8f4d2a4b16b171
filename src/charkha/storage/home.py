"""One folder with all that a project keeps: its log, online state, tables, ledger, bundles and quarantine."""

from pathlib import Path
from types import TracebackType

from attrs import frozen
from sqlalchemy import URL

from charkha.spec.project import Project
from charkha.storage.ledger import Ledger
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.log import Log
from charkha.storage.online import OnlineStore
from charkha.storage.parquet_tables import ParquetTables
from charkha.storage.quarantine import Quarantine
from charkha.storage.segment_log import Fsync, SegmentLog
from charkha.storage.tables import Tables


class UnusableHome(Exception):
    """A home that is no folder, and cannot be made one."""

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder = folder
        super().__init__(f"expected a folder for the home, or a place where it can be made, got {folder}: {reason}")


@frozen(eq=False)
class Home:
    """The backends of a project, opened; close it, or use it as a context manager."""

    folder: Path
    log: Log
    online: OnlineStore
    tables: Tables
    ledger: Ledger
    quarantine: Quarantine

    @property
    def bundles(self) -> Path:
        """The folder of the model versions."""
        return self.folder / "bundles"

    def close(self) -> None:
        """Release what was opened."""
        self.online.close()
        self.ledger.close()

    def __enter__(self) -> "Home":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_project(project: Project) -> Home:
    """Open the home of a project as its settings say. Raises UnusableHome and UnusableLedger."""
    return open_home(project.home, ledger_url=project.ledger, fsync=project.fsync, online_gb=project.online_gb)


def open_home(folder: Path, *, ledger_url: str | None = None, fsync: Fsync = "never", online_gb: int = 16) -> Home:
    """Open the home in a folder, which is made if it is not there.

    ledger_url: the SQLAlchemy URL of a ledger kept elsewhere.
    fsync: "always" has the disk confirm every append, part and decision: nothing acknowledged is lost in a power
        failure. With "never" only a killed process is safe.
    online_gb: the size that the online state can grow to; the first to open it in a process decides.
    Raises UnusableHome and UnusableLedger.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableHome(folder, error.strerror or str(error)) from error
    sync = fsync == "always"
    # First, because it alone can refuse: nothing else is open then.
    ledger = Ledger(ledger_url or URL.create("sqlite", database=str(folder / "ledger.db")), sync=sync)
    return Home(
        folder=folder,
        log=SegmentLog(folder / "log", fsync=fsync),
        online=LmdbOnline(folder / "online", map_bytes=online_gb << 30),
        tables=ParquetTables(folder / "tables", sync=sync),
        ledger=ledger,
        quarantine=Quarantine(folder / "quarantine", sync=sync),
    )
