"""What holds for all tests: a property is not false because the machine was busy.

`pytest --hypothesis-profile=thorough` tries ten times as many cases: for a night, or a change at the heart of things.
"""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("charkha", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("charkha"), max_examples=1000)
settings.load_profile("charkha")


@pytest.fixture
def at_keyboard(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have the command line run, in this process, as if the user of a name had begun it."""

    def sit(name: str) -> None:
        monkeypatch.setattr("charkha.cli.session.getpwuid", lambda _: SimpleNamespace(pw_name=name))

    return sit
