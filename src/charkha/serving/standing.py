"""How the models stand: who answers, and what is wrong, as probes, metrics and the server's own log are told it."""

from collections.abc import Mapping

from attrs import frozen

from charkha.serving.lineups import LineUps
from charkha.serving.policed_log import PolicedLog


@frozen
class Readiness:
    """Whether predictions are answered, and by whom.

    champions: model → version, None where there is none. generations: model → the deployment loaded, 0 for none.
    problems: model → what of its deployment could not be loaded, in words that clients may read.
    """

    ready: bool
    champions: dict[str, str | None]
    generations: dict[str, int]
    problems: dict[str, str]


@frozen(eq=False)
class Standing:
    """Says how models stand. logs: of the predictions of each model, all of them. May be asked from any thread."""

    lineups: LineUps
    logs: Mapping[str, PolicedLog]

    def ready(self) -> Readiness:
        """Say who answers: ready when somebody answers for some model, and for each that was deployed at the start, and
        no call is refused because the log takes none.
        """
        lineups, full = self.lineups.all(), self.log_problems()
        problems = {name: problem.told for name, problem in self.lineups.problems.items()}
        problems |= {name: _also(problems.get(name), said) for name, said in full.items() if said}
        champions: dict[str, str | None] = dict.fromkeys(self.logs)
        champions |= {name: each.champion.version for name, each in lineups.items() if each.answering}
        refusing = any(self.logs[name].refuses for name, problem in full.items() if problem)
        ready = bool(lineups) and not self.lineups.missing and not refusing
        return Readiness(ready, champions, self.lineups.generations, problems)

    def problems(self) -> dict[str, str]:
        """Return, by model, what of its deployment could not be loaded, in words for the server's own log."""
        return {name: problem.said for name, problem in self.lineups.problems.items()}

    def log_problems(self) -> dict[str, str | None]:
        """Return of each model why its predictions cannot be logged now; None where they can."""
        return {name: log.problem for name, log in self.logs.items()}

    def deployments_failing(self) -> dict[str, bool]:
        """Return of each model whether its newest deployment could not be loaded."""
        failed = self.lineups.failed
        return {name: name in failed for name in self.logs}


def _also(problem: str | None, full: str) -> str:
    said = f"predictions cannot be logged: {full}"
    return f"{problem}; {said}" if problem else said
