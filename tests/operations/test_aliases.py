"""Aliases follow the deployment, once per generation, whatever was in the way before."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from charkha.bundles.manifest import Manifest
from charkha.operations.aliases import mirror_aliases
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Draft, VersionRow


class Registry:
    """A tracker that keeps its aliases in memory, and may be out of order."""

    def __init__(self, **aliases: str) -> None:
        self.kept = dict(aliases)
        self.calls: list[str] = []
        self.broken_after: int | None = None

    def log_candidate(self, manifest: Manifest, folder: Path, run_key: str) -> Mapping[str, str]:
        raise NotImplementedError

    def aliases(self, model: str) -> Mapping[str, str]:
        self._call("aliases")
        return dict(self.kept)

    def set_alias(self, model: str, alias: str, registered_version: str) -> None:
        self._call(f"set {alias}")
        self.kept[alias] = registered_version

    def delete_alias(self, model: str, alias: str) -> None:
        self._call(f"delete {alias}")
        self.kept.pop(alias, None)

    def _call(self, name: str) -> None:
        if self.broken_after is not None and len(self.calls) >= self.broken_after:
            raise ConnectionError("the tracker is away")
        self.calls.append(name)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as home:
        for number in (1, 2, 3):
            tracked = {"registered_version": str(number + 10)} if number < 3 else {}
            home.ledger.record_version(VersionRow("late", f"v{number}", 0, "", "", "", tracked, "accepted"))
        yield home


def deploy(home: Home, champion: str, shadow: str | None = None) -> None:
    assignments = [Assignment(champion, "champion")] + ([Assignment(shadow, "shadow")] if shadow else [])
    key = str(home.ledger.deployment("late").generation)
    home.ledger.decide(Draft(key, 0, "late", "test", "promote", "test", {}), deploy=assignments)


def test_aliases_are_those_of_the_deployment(home: Home) -> None:
    registry = Registry()
    deploy(home, "v1", "v2")
    assert mirror_aliases(home.ledger, registry, "late")
    assert registry.kept == {"champion": "11", "challenger": "12"}
    deploy(home, "v2")
    assert mirror_aliases(home.ledger, registry, "late")
    assert registry.kept == {"champion": "12"}


def test_nobody_is_asked_twice_about_one_generation(home: Home) -> None:
    registry = Registry()
    assert not mirror_aliases(home.ledger, registry, "late")
    assert registry.calls == []
    deploy(home, "v1")
    mirror_aliases(home.ledger, registry, "late")
    assert not mirror_aliases(home.ledger, registry, "late")
    assert registry.calls == ["aliases", "set champion"]


def test_what_is_right_already_is_left_alone(home: Home) -> None:
    registry = Registry(champion="11", best="9")
    deploy(home, "v1")
    assert not mirror_aliases(home.ledger, registry, "late")
    assert registry.kept == {"champion": "11", "best": "9"}


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_after_a_failure_the_next_call_goes_on(home: Home, calls: int) -> None:
    registry = Registry()
    deploy(home, "v1", "v2")
    registry.broken_after = calls
    with pytest.raises(ConnectionError):
        mirror_aliases(home.ledger, registry, "late")
    registry.broken_after = None
    mirror_aliases(home.ledger, registry, "late")
    assert registry.kept == {"champion": "11", "challenger": "12"}


def test_a_version_that_was_not_tracked_has_no_alias(home: Home) -> None:
    registry = Registry(champion="11")
    deploy(home, "v3")
    mirror_aliases(home.ledger, registry, "late")
    assert registry.kept == {}
