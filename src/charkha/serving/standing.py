"""How the models stand: who answers, and what is wrong, as probes, metrics and the server's own log are told it."""

from collections.abc import Mapping

from attrs import frozen

from charkha.serving.catching_up import CatchingUp
from charkha.serving.lineups import LineUps
from charkha.serving.policed_log import PolicedLog
from charkha.serving.problems import Problem, together


@frozen
class Readiness:
    """Whether predictions are answered, and by whom.

    champions: model → version, None where there is none. generations: model → the deployment loaded, 0 for none.
    problems: model → what of its deployment could not be loaded, or keeps its state or its log from going on, in words
        that clients may read.
    """

    ready: bool
    champions: dict[str, str | None]
    generations: dict[str, int]
    problems: dict[str, str]


@frozen(eq=False)
class Standing:
    """Says how models stand. logs: of the predictions of each model, all of them. May be asked from any thread."""

    lineups: LineUps
    state: CatchingUp
    logs: Mapping[str, PolicedLog]

    def ready(self) -> Readiness:
        """Say who answers: ready when somebody answers for some model, and for each that was deployed at the start, and
        no call is refused because the log takes none. A state that lacks rows which nobody was told are taken is a
        problem, and answers all the same.
        """
        lineups, full = self.lineups.all(), self.log_problems()
        problems = {name: problem.told for name, problem in self._problems().items()}
        problems |= {name: _also(problems.get(name), said) for name, said in full.items() if said}
        champions: dict[str, str | None] = dict.fromkeys(self.logs)
        champions |= {name: each.champion.version for name, each in lineups.items() if each.answering}
        refusing = any(self.logs[name].refuses for name, problem in full.items() if problem)
        ready = bool(lineups) and not self.lineups.missing and not refusing
        return Readiness(ready, champions, self.lineups.generations, problems)

    def unanswered(self) -> dict[str, str]:
        """Return, by model that is deployed and whose champion cannot answer, why, in words that clients may read."""
        absent = {name for name, each in self.lineups.all().items() if each.absent}
        problems = self._problems()
        return {name: problems[name].told for name in sorted(absent | set(self.lineups.missing)) if name in problems}

    def answered(self) -> tuple[str, ...]:
        """Return the models whose deployed champion answers."""
        return tuple(name for name, each in self.lineups.all().items() if each.answering)

    def notices(self) -> list[str]:
        """Return what whoever operates the models should know: who is killed, and who was never deployed."""
        lineups = self.lineups.all()
        found = [f"model {name} is killed: {each.killed}" for name, each in lineups.items() if each.killed is not None]
        never = [name for name in self.logs if not self.lineups.generations.get(name)]
        return found + [f"model {name} has no champion: train one with charkha train" for name in never]

    def problems(self) -> dict[str, str]:
        """Return, by model, what could not be loaded or applied to the state, in words for the server's own log."""
        return {name: problem.said for name, problem in self._problems().items()}

    def log_problems(self) -> dict[str, str | None]:
        """Return of each model why its predictions cannot be logged now; None where they can."""
        return {name: log.problem for name, log in self.logs.items()}

    def deployments_failing(self) -> dict[str, bool]:
        """Return of each model whether its newest deployment could not be loaded."""
        failed = self.lineups.failed
        return {name: name in failed for name in self.logs}

    def _problems(self) -> dict[str, Problem]:
        of_lineups, of_state = self.lineups.problems, self.state.problems
        found = {name: [each[name] for each in (of_lineups, of_state) if name in each] for name in self.logs}
        return {name: problem for name, each in found.items() if (problem := together(each))}


def _also(problem: str | None, full: str) -> str:
    said = f"predictions cannot be logged: {full}"
    return f"{problem}; {said}" if problem else said
