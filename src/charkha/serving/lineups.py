"""Who answers now, of every model: follows what the ledger deploys; which models it kills is told by `KillSwitch`."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TypeVar

from attrs import evolve

from charkha.bundles.store import BundleStore
from charkha.serving.backoff import Backoff
from charkha.serving.lineup import LeftOut, LineUp, line_up
from charkha.serving.observer import Observer
from charkha.serving.problems import Problem, problem_of, together
from charkha.serving.stand_in import stand_in
from charkha.spec.failures import ANY_FAILS
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Deployment

T = TypeVar("T")
SWITCH_SECONDS = 0.0005


class LineUps:
    """The line-ups of a project's models. Read from any thread: what was read never changes, but is replaced.

    prepare: is shown a line-up before it answers; what it raises keeps that from answering.
    """

    def __init__(
        self, models: Mapping[str, Model], home: Home, observer: Observer, prepare: Callable[[LineUp], None]
    ) -> None:
        self._models, self._home, self._observer, self._prepare = models, home, observer, prepare
        self._bundles = BundleStore(home.bundles)
        self._lineups: dict[str, LineUp] = {}
        self._generations = dict.fromkeys(models, 0)
        self._problems: dict[str, Problem] = {}
        self._failed: frozenset[str] = frozenset()
        self._left_out: dict[str, tuple[LeftOut, Backoff]] = {}
        self._awaited: frozenset[str] | None = None
        self._killed: Mapping[str, str] = {}
        self._refreshing = threading.Lock()
        self._replacing = threading.Lock()  # never held while anything is read or loaded

    def refresh(self) -> bool:
        """Load what the ledger deploys now and swap it in; return whether anything changed.

        A deployment that cannot be loaded leaves the former one in place, is told by `problems`, and is tried again at
        the next refresh. Where there is no former one, the fallback answers, if the model declares one. Who was left
        out of a line-up is tried again too, ever more seldom.
        """
        with self._refreshing:
            current = self._home.ledger.generations()
            stale = [name for name, loaded in self._generations.items() if current.get(name, 0) != loaded]
            if self._awaited is None:
                self._awaited = frozenset(stale)
            with _often_interrupted():
                swapped = [self._swap(self._models[name]) for name in stale]
                due = [name for name, (_, again) in self._left_out.items() if again.is_due and name not in stale]
                swapped += [self._complete(self._models[name]) for name in due]
        return any(swapped)

    def kill(self, killed: Mapping[str, str]) -> bool:
        """Put these models, and no others, on their fallback, from now on; return whether that was a change.

        killed: model → the reason. Waits for nothing that is being loaded.
        """
        with self._replacing:
            self._killed = killed
            changed = {
                name: evolve(lineup, killed=killed.get(name))
                for name, lineup in self._lineups.items()
                if lineup.killed != killed.get(name)
            }
            self._lineups = {**self._lineups, **changed}
        for lineup in changed.values():
            self._observer.deployed(lineup)
        return bool(changed)

    def get(self, model: str) -> LineUp | None:
        """Return who answers for a model, None where nobody does."""
        return self._lineups.get(model)

    def all(self) -> dict[str, LineUp]:
        """Return who answers, by model."""
        return dict(self._lineups)

    @property
    def generations(self) -> dict[str, int]:
        """Model → the deployment that is loaded, 0 for none."""
        return dict(self._generations)

    @property
    def problems(self) -> dict[str, Problem]:
        """Model → what of its deployment could not be loaded."""
        return dict(self._problems)

    @property
    def failed(self) -> frozenset[str]:
        """The models whose newest deployment could not be loaded."""
        return self._failed

    @property
    def missing(self) -> frozenset[str]:
        """The models that were deployed when this first looked, but could not be loaded, and that nobody answers for.

        Not those whose first deployment came later: all servers follow it, and if each said that it is not ready, the
        models that they do answer for would have no server left.
        """
        return (self._failed & (self._awaited or frozenset())) - self._lineups.keys()

    def _swap(self, model: Model) -> bool:
        deployment = self._home.ledger.deployment(model.name)
        try:
            lineup, left_out = line_up(
                model, deployment, self._bundles, self._former(model), whole=not self._is_unserved(model.name)
            )
            if lineup is not None:
                self._prepare(lineup)
        except ANY_FAILS as error:
            self._failed |= {model.name}
            problem = problem_of(f"generation {deployment.generation} could not be loaded", error)
            self._problems = {**self._problems, model.name: problem}
            return self._stand_in(model, deployment)
        self._failed -= {model.name}
        self._take(model.name, lineup, left_out)
        self._generations[model.name] = deployment.generation
        return True

    def _complete(self, model: Model) -> bool:
        """Try again who was left out of the line-up that answers; return whether any of them is back.

        What answers stays as it is until the line-up is better: also where the champion's files are gone by now.
        """
        before, again = self._left_out[model.name]
        deployment = self._home.ledger.deployment(model.name)
        if deployment.generation != self._generations[model.name]:
            return False
        try:
            lineup, left_out = line_up(model, deployment, self._bundles, self._former(model), whole=False)
            if lineup is not None and left_out.keys() < before.keys():
                self._prepare(lineup)
                self._take(model.name, lineup, left_out)
                return True
            problems = [left_out.get(who, problem) for who, problem in before.items()]
        except ANY_FAILS as error:
            problems = [*before.values(), problem_of("those left out were tried again", error)]
        self._problems = _replaced(self._problems, model.name, together(problems))
        again.failed()
        return False

    def _take(self, model: str, lineup: LineUp | None, left_out: LeftOut) -> None:
        """Have a line-up answer, and remember who is to be tried again."""
        self._problems = _replaced(self._problems, model, together(left_out.values()))
        self._left_out = _replaced(self._left_out, model, (left_out, Backoff()) if left_out else None)
        self._install(model, lineup)

    def _stand_in(self, model: Model, deployment: Deployment) -> bool:
        """Where nobody answers for a model, have its fallback do so; say whether that is new."""
        former, champion = self._lineups.get(model.name), deployment.champion
        is_new = former is None or former.generation != deployment.generation
        if model.fallback is None or champion is None or not self._is_unserved(model.name) or not is_new:
            return False
        lineup = stand_in(model, deployment.generation, champion, self._bundles, self._former(model))
        with suppress(Exception):  # without state the constant answers, and rules that need none
            self._prepare(lineup)
        self._install(model.name, lineup)
        return True

    def _is_unserved(self, model: str) -> bool:
        lineup = self._lineups.get(model)
        return lineup is None or lineup.absent

    def _install(self, model: str, lineup: LineUp | None) -> None:
        """Have a line-up answer, killed from the first call on if its model is."""
        with self._replacing:
            found = None if lineup is None else evolve(lineup, killed=self._killed.get(model))
            self._lineups = _replaced(self._lineups, model, found)
        if found is not None:
            self._observer.deployed(found)

    def _former(self, model: Model) -> str | None:
        """Return the champion before, if the fallback asks it."""
        if model.fallback is None or not model.fallback.previous:
            return None
        line = self._home.ledger.champions(model.name)
        return line[-2] if len(line) > 1 else None


@contextmanager
def _often_interrupted() -> Iterator[None]:
    """Have threads that answer calls wait half a millisecond for this one, in place of five, whenever they go on."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _replaced(values: dict[str, T], name: str, value: T | None) -> dict[str, T]:
    """Return a copy with a value set, or left out when None: readers never see a dictionary change."""
    others = {other: kept for other, kept in values.items() if other != name}
    return others if value is None else {**others, name: value}
