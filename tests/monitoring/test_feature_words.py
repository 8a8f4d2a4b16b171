"""What a feature is said to be: which one of several, with the edges of all its windows, and no time where none is."""

from datetime import datetime

import charkha as ck
from charkha.monitoring.feature_words import latest_in_words, ratio_in_words, window_in_words
from charkha.spec.aggregates import Aggregate, Ratio

PAYMENTS = ck.Source("payments", {"id": int, "card": str, "paid": float, "at": datetime}, time="at", key="id")
SHOPS = ck.Source("shops", {"shop": int, "risk": float}, ck.csv("shops.csv"), key="shop", static=True)


def view(*windows: Aggregate | Ratio) -> ck.FeatureView:
    return ck.FeatureView("card", ck.Entity("card"), PAYMENTS, windows=windows)


def said(aggregate: Aggregate, number: int) -> str:
    (window,) = aggregate.windows()
    return window_in_words(view(aggregate), window, window.names[number])[0]


def test_one_of_several_values_is_told_from_the_others() -> None:
    assert said(ck.quantile("paid", q=[0.5, 0.95], over="30d"), 1).startswith("about the quantile 0.95 of paid, of the")
    assert said(ck.last_k("paid", k=3, over="7d"), 1).startswith("the 2nd newest value of paid, of the rows")
    assert said(ck.top_k("paid", k=12, over="7d"), 10).startswith("the 11th most frequent value of paid, of")


def test_a_ratio_has_the_edges_of_its_windows() -> None:
    rush = ck.ratio(ck.count(over="1h"), ck.count(over="all"), name="rush")
    says = ratio_in_words(view(rush), rush)
    assert says[1].startswith("asked for at t, the numerator covers known times from (floor(t / 5m) - 12) * 5m to t")
    assert [line for line in says if "denominator covers" in line] == []


def test_a_static_row_is_known_since_always() -> None:
    shop = ck.FeatureView("shop", ck.Entity("shop"), SHOPS, latest=["risk"])
    assert latest_in_words(shop, "risk")[0] == "risk in the row of shops of one shop, known since always"
