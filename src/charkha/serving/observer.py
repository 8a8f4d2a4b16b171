"""Who is told what goes on in serving: metrics and logs, kept out of the service itself."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from charkha.features.evaluate import Failure
from charkha.serving.lineup import LineUp, Player
from charkha.serving.prediction_log import Cause
from charkha.serving.scoring import Part

# The parts of answering a batch, in their order.
STAGES = ("wait", "features", "model", "log")


class Stages(NamedTuple):
    """When the first call of a batch came, and when each of `STAGES` had ended (ns, by `time.perf_counter_ns`)."""

    came_ns: int
    waited_ns: int
    features_ns: int
    scored_ns: int
    logged_ns: int


class Observer(Protocol):
    """Is told what goes on; must neither raise nor wait."""

    def predicted(self, model: str, rows: int, latency_us: int) -> None:
        """A call was answered and logged."""
        ...

    def staged(self, model: str, stages: Stages) -> None:
        """A batch was answered and logged, in these stages."""
        ...

    def queued(self, model: str, rows: int) -> None:
        """So many rows wait for the next batch; told where that changed."""
        ...

    def shed(self, model: str) -> None:
        """A call was refused because there were too many."""
        ...

    def ruled(self, model: str, parts: Sequence[Part]) -> None:
        """A batch of a model with rules was answered and logged. parts: who answered which of its rows."""
        ...

    def failed(self, model: str, player: Player, error: Exception) -> None:
        """A version failed; the call was answered without it: by the champion, or the fallback."""
        ...

    def fell_back(self, model: str, cause: Cause, rows: int) -> None:
        """The fallback answered rows in the model's place."""
        ...

    def not_evaluated(self, model: str, failure: Failure, time_us: int) -> None:
        """A request feature or a rule's condition failed on rows that were answered and logged without its value."""
        ...

    def shadows_left_out(self, model: str, rows: int) -> None:
        """What shadows make of rows is not in the log: they could not keep up, or the log took no more."""
        ...

    def not_logged(self, model: str, reason: str, rows: int, *, refused: bool) -> None:
        """The log took no more: rows were refused, or answered without being logged."""
        ...

    def logs_again(self, model: str) -> None:
        """The log has room again."""
        ...

    def deployed(self, lineup: LineUp) -> None:
        """A line-up now answers."""
        ...


class Quiet:
    """The observer that does nothing."""

    def predicted(self, model: str, rows: int, latency_us: int) -> None:
        """Do nothing."""

    def staged(self, model: str, stages: Stages) -> None:
        """Do nothing."""

    def queued(self, model: str, rows: int) -> None:
        """Do nothing."""

    def shed(self, model: str) -> None:
        """Do nothing."""

    def ruled(self, model: str, parts: Sequence[Part]) -> None:
        """Do nothing."""

    def failed(self, model: str, player: Player, error: Exception) -> None:
        """Do nothing."""

    def fell_back(self, model: str, cause: Cause, rows: int) -> None:
        """Do nothing."""

    def not_evaluated(self, model: str, failure: Failure, time_us: int) -> None:
        """Do nothing."""

    def shadows_left_out(self, model: str, rows: int) -> None:
        """Do nothing."""

    def not_logged(self, model: str, reason: str, rows: int, *, refused: bool) -> None:
        """Do nothing."""

    def logs_again(self, model: str) -> None:
        """Do nothing."""

    def deployed(self, lineup: LineUp) -> None:
        """Do nothing."""
