"""The profiles of what was served that are kept, where one shape covers all of it."""

from collections.abc import Mapping, Sequence
from functools import reduce

import polars as pl
from attrs import field, frozen

from charkha.bundles.profile import NumericShape, ProfileShape
from charkha.bundles.store import BundleStore, UnknownBundle
from charkha.monitoring.collect import profiles_table
from charkha.monitoring.parts import PartReader
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import SCHEMA, TILE_US
from charkha.storage.home import Home

ANSWERED = ("champion", "challenger")


@frozen(eq=False)
class Kept:
    """Tiles (`tiles.SCHEMA`) of one shape: all that was answered in some time."""

    shape: ProfileShape = field(repr=False)
    tiles: pl.DataFrame = field(repr=False)


def kept_tiles(
    home: Home,
    model: str,
    bundles: BundleStore,
    span: Span,
    cut: Sequence[Span] = (),
    *,
    features: Mapping[str, pl.DataType],
) -> Kept | None:
    """Return the tiles of what was answered in a span, without those that `cut` touches, as far as `collect` has come.

    None where not all of it was counted in one shape of just these features (full name → Float64 or String): versions
    whose shapes differ, one whose bundle is gone, or profiles as they once were kept.
    """
    parts = PartReader(home.tables, profiles_table(model), lambda part: part).between(span.since_us, span.until_us)
    if not parts or any(part.schema != SCHEMA for part in parts):
        return None
    begins, ends = pl.col("tile_us"), pl.col("tile_us") + TILE_US
    touched = [(begins < each.until_us) & (ends > each.since_us) for each in cut if each.since_us < each.until_us]
    wanted = (begins >= span.since_us) & (begins < span.until_us) & pl.col("role").is_in(ANSWERED)
    tiles = pl.concat(part.filter(wanted & ~reduce(pl.Expr.or_, touched, pl.lit(value=False))) for part in parts)
    shape = _one_shape(model, bundles, tiles["version"].unique().to_list())
    if shape is None or _kinds(shape) != {name: kind == pl.String for name, kind in features.items()}:
        return None
    return Kept(shape, tiles)


def _one_shape(model: str, bundles: BundleStore, versions: Sequence[str]) -> ProfileShape | None:
    try:
        shapes = [bundles.manifest(model, version).shape for version in versions]
    except UnknownBundle:
        return None
    return shapes[0] if len({shape.fingerprint for shape in shapes}) == 1 else None


def _kinds(shape: ProfileShape) -> dict[str, bool]:
    """Say of each feature whether it is text."""
    return {name: not isinstance(part, NumericShape) for name, part in shape.parts.items()}
