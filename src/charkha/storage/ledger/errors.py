"""What the ledger refuses."""

from pathlib import Path


class StaleGeneration(Exception):
    """A deployment that somebody else has changed since it was looked at."""

    def __init__(self, model: str, expected: int, found: int) -> None:
        self.model, self.expected, self.found = model, expected, found
        super().__init__(model, expected, found)

    def __str__(self) -> str:
        return (
            f"deployment of model {self.model!r}: expected generation {self.expected}, found {self.found}: it was "
            f"changed in the meantime. Nothing was written; look again and decide anew."
        )


class BrokenChain(Exception):
    """A decision that is not what was written: the chain of hashes breaks at `sequence`."""

    def __init__(self, sequence: int, reason: str) -> None:
        self.sequence, self.reason = sequence, reason
        super().__init__(sequence, reason)

    def __str__(self) -> str:
        return (
            f"decision {self.sequence} of the ledger: {self.reason}. It or the one before was changed or removed after "
            f"it was written; compare with an exported copy."
        )


class ChangedDeployment(Exception):
    """A generation that is not what was decided. decision: the one that made it, or None. problem: what differs."""

    def __init__(self, model: str, generation: int, decision: int | None, problem: str) -> None:
        self.model, self.generation, self.decision, self.problem = model, generation, decision, problem
        super().__init__(model, generation, decision, problem)

    def __str__(self) -> str:
        by = "" if self.decision is None else f", made by decision {self.decision}"
        return (
            f"generation {self.generation} of model {self.model!r}{by}: {self.problem}. It was changed outside of "
            f"Charkha after it was decided, and servers go by what stands: charkha rollback and charkha promote make "
            f"the next generation; compare the others with a backup."
        )


class BrokenAnchor(Exception):
    """A line in a file of anchors that is none."""

    def __init__(self, path: Path, where: str) -> None:
        self.path, self.where = path, where
        super().__init__(path, where)

    def __str__(self) -> str:
        return (
            f"{self.path}, {self.where}: expected an anchor, one JSON object with hash, project, sequence and time. It "
            "was changed, or cut off as the power failed: compare with a copy before you take the line out."
        )


class AnchorsGone(Exception):
    """A file of anchors that lacks what was written to it. sequence: of the newest anchor that was."""

    def __init__(self, path: Path, sequence: int, *, there: bool) -> None:
        self.path, self.sequence, self.there = path, sequence, there
        super().__init__(path, sequence)

    def __str__(self) -> str:
        found = "the file has no such line" if self.there else "the file is not there"
        return (
            f"{self.path}: expected the anchor of decision {self.sequence}, which was written to it, but {found}. It "
            "was deleted, moved or cut short: put it back from a copy, or name where it was moved to: --anchors FILE. "
            "Without it nothing tells whether the ledger was written anew."
        )


class UnknownDecision(LookupError):
    """A decision that the ledger does not have."""

    def __init__(self, name: int | str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"expected the number or the key of a decision, got {self.name!r}. They are listed by: charkha history"


class UnknownVersion(LookupError):
    """A version of a model that the ledger does not have."""

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version
        super().__init__(model, version)

    def __str__(self) -> str:
        return f"model {self.model!r} has no version {self.version!r}. Its `versions` lists those it has."


class UnknownRun(LookupError):
    """A run that was never begun."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)

    def __str__(self) -> str:
        return f"run {self.key!r}: expected one that was begun, found none. charkha runs list names them."


class UnknownKey(LookupError):
    """An API key that was never made."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        super().__init__(id_)

    def __str__(self) -> str:
        return f"expected the id of an API key, got {self.id!r}. They are listed by: charkha keys list"


class UnknownIncident(LookupError):
    """An incident that was never opened."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        super().__init__(id_)

    def __str__(self) -> str:
        return f"expected the id of an incident, got {self.id!r}. They are listed by: charkha incidents list --all"


class UnusableLedger(Exception):
    """A database that this version of Charkha cannot use as a ledger."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"ledger {self.url}: {self.reason}"


class LeaseLost(Exception):
    """A leader that was overtaken: another leads, and this one may write nothing any more."""

    def __init__(self, name: str, term: int, leader: str) -> None:
        self.name, self.term = name, term
        super().__init__(f"lease {name!r}: expected to lead in term {term}, but {leader} leads; nothing was written")
