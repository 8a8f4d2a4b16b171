"""What can be wrong with a definition, as data: every fault says where, what was expected, what came, the way out."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a definition. `where` names the object and its parameter, such as "model 'late', metrics"."""

    where: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.found}. {self.remedy}"

    def as_dict(self) -> dict[str, str]:
        """Return the fault for `--json`."""
        return asdict(self)


class DefinitionError(Exception):
    """A definition that cannot be used; `faults` holds everything that is wrong with it, found at once."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        plural = "" if len(faults) == 1 else "s"
        lines = "\n".join(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))
        super().__init__(f"{len(faults)} fault{plural} in the definition:\n{lines}")
