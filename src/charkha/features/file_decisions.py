"""Files of a source that a person sets aside or releases: a decision in the ledger, and a mark that readers heed."""

from collections.abc import Sequence
from pathlib import Path

from charkha.features.batches import Batch, batches_of
from charkha.features.data_decisions import QUARANTINE, RELEASE, NothingToDecide, Word, decide
from charkha.features.declared import DataError
from charkha.features.file_marks import FileMark, Mark, file_marks, write_marks
from charkha.spec.sources import Source
from charkha.storage.home import Home
from charkha.storage.ledger import Decision

_LISTED = 8


class UnknownFile(LookupError):
    """A file that is none of its source's."""

    def __init__(self, source: str, file: str, known: Sequence[str]) -> None:
        self.source, self.file = source, file
        more = f", … ({len(known)} in all)" if len(known) > _LISTED else ""
        names = ", ".join(known[:_LISTED]) or "none"
        super().__init__(f"source {source!r}: expected one of its files ({names}{more}), got {file!r}")

    def __str__(self) -> str:
        return str(self.args[0])


def mark_file(home: Home, source: Source, root: Path, file: str, *, mark: Mark, word: Word) -> Decision:
    """Have a file of a source not read from now on ("aside"); or read as it is, even if it breaks the contract.

    file: its path in the project's folder, or "query" for what a query gives. Raises UnknownFile, NothingToDecide, and
    DataError where there are no files, or one that is to be read cannot be.
    """
    digest = _digest(_batch_of(source, root, file), mark)
    last = file_marks(home.log, source.name).get(file)
    if last is not None and last.mark == mark and (mark == "aside" or last.digest == digest):
        done = "set aside" if mark == "aside" else "released as it is"
        raise NothingToDecide(f"file {file!r} of {source.name!r} was {done} by {last.actor} already: {last.reason}")
    number = last.number + 1 if last else 1
    # Cut short between the two, the decision is found again by its key: the number is still free.
    about, action = f"{source.name}@{file}/{number}", QUARANTINE if mark == "aside" else RELEASE
    decision = decide(home, source.name, about, action=action, word=word, evidence={"file": file, "digest": digest})
    marked = FileMark(file, mark, digest, number, decision.time_us, decision.actor, decision.reason)
    write_marks(home.log, source.name, [marked])
    return decision


def _digest(batch: Batch, mark: Mark) -> str:
    """Return a batch's digest; none of one that is set aside because it cannot be read."""
    try:
        return batch.digest()
    except (DataError, OSError):
        if mark == "aside":
            return ""
        raise


def _batch_of(source: Source, root: Path, name: str) -> Batch:
    batches = {batch.name: batch for batch in batches_of(source, root)}
    if name not in batches:
        raise UnknownFile(source.name, name, list(batches))
    return batches[name]
