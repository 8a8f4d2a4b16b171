"""Versions that are on disk or ought to be: what their manifests say, and which of them cannot be read.

One bundle that is lost or damaged says nothing of the others: it is not considered, which is written down once, and
whatever else is to be watched and decided goes on.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping

from attrs import frozen

from charkha.bundles.manifest import Manifest, ManifestError
from charkha.bundles.store import BundleCorrupt, BundleStore, UnknownBundle
from charkha.operations.remedies.at_fault import views_at_fault
from charkha.operations.situation import Situation, Unreadable, Waiting
from charkha.operations.steps import Note, Step
from charkha.spec.model import Model
from charkha.storage.ledger import Deployment, Incident, VersionRow

UNREADABLE = (UnknownBundle, BundleCorrupt, ManifestError, OSError)

logger = logging.getLogger(__name__)


@frozen(eq=False)
class Shelf:
    """The manifests of a model's versions, as far as they can be read."""

    model: Model
    bundles: BundleStore

    def waiting(self, rows: Iterable[VersionRow], written: Collection[str]) -> tuple[list[Waiting], list[Unreadable]]:
        """Return the versions that wait, and those that cannot be read. written: keys of the ledger's decisions."""
        waiting: list[Waiting] = []
        unreadable: list[Unreadable] = []
        for row in rows:
            found = self._read(row.version)
            if isinstance(found, Manifest):
                waiting.append(Waiting(version=row.version, passed=row.status == "accepted", gates=found.gates))
                continue
            unreadable.append(found)
            if unreadable_key(self.model.name, row.version) not in written:
                logger.warning("%s: %s cannot be read: %s", self.model.name, row.version, found.problem)
        return waiting, unreadable

    def views(self, version: str) -> frozenset[str]:
        """Return the views that a version reads; all of the model's where it cannot be read."""
        found = self._read(version)
        views = frozenset(view.name for view in self.model.views)
        return (
            views if isinstance(found, Unreadable) else views & {name.partition(".")[0] for name in found.schema.names}
        )

    def beside(self, deployment: Deployment) -> Mapping[str, frozenset[str]]:
        """Return what the versions beside the champion read."""
        others = (each.version for each in deployment.assignments if each.role != "champion")
        return {version: self.views(version) for version in others}

    def whose_turn_may_come(
        self, waiting: Iterable[Waiting], incidents: Iterable[Incident], champion_views: frozenset[str] | None
    ) -> Iterator[Waiting]:
        """Yield the versions that wait, but for those that read what is at fault and the champion does without.

        champion_views: None without a champion: then nobody is spared anything by waiting.
        """
        wrong = {view for each in incidents if each.status == "open" for view in views_at_fault(each, self.model)}
        for each in waiting:
            if champion_views is None or not wrong & self.views(each.version) - champion_views:
                yield each

    def _read(self, version: str) -> Manifest | Unreadable:
        try:
            return self.bundles.manifest(self.model.name, version)
        except UNREADABLE as error:
            return Unreadable(version, str(error))


def unreadable_key(model: str, version: str) -> str:
    """Return the key of the decision that a version cannot be read."""
    return f"{model}/unreadable/{version}"


def note_unreadable(situation: Situation, model: Model) -> Iterator[Step]:
    """Write down, once each, which waiting versions cannot be read."""
    for each in situation.unreadable:
        yield Note(
            key=unreadable_key(model.name, each.version),
            action="unreadable",
            reason=f"{each.version} cannot be read, and waits until it can: {each.problem}",
            evidence={"version": each.version, "problem": each.problem},
        )
