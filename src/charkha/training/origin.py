"""What the lineage of a version says of the one that it was made of."""

import msgspec

from charkha.bundles.manifest import Manifest, Updated
from charkha.training.update import learnt_until_us


def with_origin(manifest: Manifest, of: Manifest | None, *, updates: bool) -> Manifest:
    """Return a manifest whose lineage says of which version it goes on, or is another calibration.

    of: that version; None where nothing was made of another. updates: whether it goes on.
    """
    if of is None:
        return manifest
    train = manifest.parts["train"]
    lineage = msgspec.structs.replace(
        manifest.lineage,
        recalibrated=None if updates else of.version,
        updated=Updated(of.version, train.rows, train.from_us, train.until_us) if updates else None,
        learnt_until_us=train.until_us if updates else learnt_until_us(of),
    )
    return msgspec.structs.replace(manifest, lineage=lineage, estimator=of.estimator)
