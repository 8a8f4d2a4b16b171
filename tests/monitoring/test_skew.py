"""Which features both paths must agree on to the bit."""

import charkha as ck
from charkha.features.aggregations import AGGREGATIONS, aggregation_of
from charkha.features.plan import FeaturePlan
from charkha.monitoring.skew import exact_features
from charkha.monitoring.skew_magnitude import MAGNITUDES
from charkha.spec.aggregates import Measure

ORDERS = ck.Source("orders", {"id": int, "shop": str, "at": str, "paid": float}, time="at", key="id")


def test_ratios_are_as_exact_as_their_sides() -> None:
    view = ck.FeatureView(
        "shop",
        ck.Entity("shop"),
        ORDERS,
        windows=[
            ck.ratio(ck.count(over="1h"), ck.count(over="all"), name="busy"),
            ck.ratio(ck.sum("paid", over="1h"), ck.count(over="1h"), name="spend"),
            ck.quantile("paid", q=[0.5, 0.9], over="1h"),
            ck.std("paid", over="1h"),
        ],
    )
    names = tuple(f"shop.{name}" for name in view.window_features())
    assert exact_features(FeaturePlan((view,), {"shop": str}, "at", {}, names)) == {
        "shop.busy",
        "shop.quantile_paid_1h_p50",
        "shop.quantile_paid_1h_p90",
    }


def test_every_aggregation_that_adds_up_has_a_magnitude() -> None:
    kinds = {kind for kind in AGGREGATIONS if not aggregation_of(Measure(kind, k=1, q=0.5, half_life="1h")).exact}
    assert kinds == set(MAGNITUDES)
