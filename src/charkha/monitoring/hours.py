"""Profiles as they are kept: one per hour, version, role and replica. Any window is a merge of them."""

from collections.abc import Mapping
from functools import reduce

import polars as pl
from attrs import frozen

from charkha.bundles.profile import Profile, ProfileShape, merge, packed, profile_of_scores, profiles_of, unpacked
from charkha.serving.prediction_frames import features_logged
from charkha.spec.durations import HOUR_US

SCHEMA = pl.Schema(
    {
        "hour_us": pl.Int64(),
        "version": pl.String(),
        "role": pl.String(),
        "replica": pl.String(),
        "rows": pl.Int64(),
        "counts": pl.Binary(),
    }
)


@frozen(order=True)
class Slice:
    """What a profile is of: predictions of the hour that begins at `hour_us`, by a version in a role, on a replica.

    replica: "" where it was not logged.
    """

    hour_us: int
    version: str
    role: str
    replica: str


Hours = Mapping[Slice, Profile]


def hours_of(shape: ProfileShape, version: str, rows: pl.DataFrame) -> dict[Slice, Profile]:
    """Return the profiles of what one version scored: of decoded predictions, with their features.

    Of rows without their features the scores count.
    """
    if "replica" not in rows.columns:
        rows = rows.with_columns(replica=pl.lit(""))
    keyed = rows.with_columns(
        pl.col("replica").fill_null(""), _hour=pl.col("_at_us") // HOUR_US * HOUR_US, _logged=features_logged(rows)
    )
    slices = keyed.select("_hour", "role", "replica").unique(maintain_order=True)
    found: dict[Slice, Profile] = {}
    for (logged,), part in keyed.partition_by("_logged", as_dict=True).items():
        numbered = part.join(slices.with_row_index("_group"), on=["_hour", "role", "replica"], maintain_order="left")
        groups, scores = numbered["_group"].cast(pl.Int64).to_numpy(), part["score"].to_numpy()
        profiles = (
            profiles_of(shape, part, scores, groups, slices.height)
            if logged
            else [profile_of_scores(shape, scores[groups == group]) for group in range(slices.height)]
        )
        add_hours(found, dict(zip((Slice(h, version, r, m) for h, r, m in slices.iter_rows()), profiles, strict=True)))
    return found


def add_hours(into: dict[Slice, Profile], more: Hours) -> None:
    """Add profiles to others."""
    for of, profile in more.items():
        if profile.rows:
            into[of] = merge(into[of], profile) if of in into else profile


def hours_table(profiles: Hours, shapes: Mapping[str, ProfileShape]) -> pl.DataFrame:
    """Return profiles as rows of SCHEMA. shapes: by version."""
    rows = [
        (of.hour_us, of.version, of.role, of.replica, profile.rows, packed(shapes[of.version], profile))
        for of, profile in sorted(profiles.items())
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def read_hours(table: pl.DataFrame, shapes: Mapping[str, ProfileShape]) -> dict[Slice, Profile]:
    """Return the profiles of rows of SCHEMA; none of those that were kept by the day, as they once were."""
    if table.schema != SCHEMA:
        return {}
    return {
        Slice(hour, version, role, replica): unpacked(shapes[version], rows, counts)
        for hour, version, role, replica, rows, counts in table.iter_rows()
    }


def merged(profiles: Hours, version: str) -> Profile | None:
    """Merge the profiles of a version over hours, roles and replicas; None when there are none."""
    found = [profile for of, profile in profiles.items() if of.version == version]
    return reduce(merge, found) if found else None
