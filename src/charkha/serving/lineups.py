"""Who answers now, of every model: follows what the ledger deploys and kills."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from attrs import evolve

from charkha.bundles.store import BundleStore
from charkha.serving.lineup import LineUp, line_up
from charkha.serving.observer import Observer
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Decision

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
        self._problems: dict[str, str] = {}
        self._failed: frozenset[str] = frozenset()
        self._refreshing = threading.Lock()

    def refresh(self) -> bool:
        """Load what the ledger deploys now and swap it in; return whether anything changed.

        A deployment that cannot be loaded leaves the former one in place, is told by `problems`, and is tried again at
        the next refresh.
        """
        with self._refreshing:
            current, killed = self._home.ledger.generations(), self._home.ledger.killed()
            stale = [name for name, loaded in self._generations.items() if current.get(name, 0) != loaded]
            with _often_interrupted():
                swapped = [self._swap(self._models[name], _reason(killed.get(name))) for name in stale]
            killed_now = [self._kill(name, _reason(killed.get(name))) for name in list(self._lineups)]
        return any(swapped) or any(killed_now)

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
    def problems(self) -> dict[str, str]:
        """Model → what of its deployment could not be loaded, in words."""
        return dict(self._problems)

    @property
    def failed(self) -> frozenset[str]:
        """The models whose newest deployment could not be loaded."""
        return self._failed

    def _swap(self, model: Model, killed: str | None) -> bool:
        """Load and swap in; a line-up of a killed model is so from the first call it is asked on."""
        deployment = self._home.ledger.deployment(model.name)
        try:
            lineup, problems = line_up(model, deployment, self._bundles, former=self._former(model))
            if lineup is not None:
                lineup = evolve(lineup, killed=killed)
                self._prepare(lineup)
        except Exception as error:
            self._failed |= {model.name}
            self._problems = {**self._problems, model.name: str(error)}
            return False
        self._failed -= {model.name}
        self._problems = _replaced(self._problems, model.name, "; ".join(problems) or None)
        self._lineups = _replaced(self._lineups, model.name, lineup)
        self._generations[model.name] = deployment.generation
        if lineup is not None:
            self._observer.deployed(lineup)
        return True

    def _former(self, model: Model) -> str | None:
        """Return the champion before, if the fallback asks it."""
        if model.fallback is None or not model.fallback.previous:
            return None
        line = self._home.ledger.champions(model.name)
        return line[-2] if len(line) > 1 else None

    def _kill(self, model: str, killed: str | None) -> bool:
        """Put a model on its fallback, or let it answer again; say whether that was a change."""
        lineup = self._lineups[model]
        if lineup.killed == killed:
            return False
        self._lineups = _replaced(self._lineups, model, evolve(lineup, killed=killed))
        self._observer.deployed(self._lineups[model])
        return True


def _reason(decision: Decision | None) -> str | None:
    return None if decision is None else decision.reason


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
