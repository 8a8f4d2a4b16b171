"""A backtest: the same past lived through under each policy and window, one after the other."""

from collections.abc import Callable, Sequence

import numpy as np
from attrs import evolve, frozen

from charkha.clock import to_iso
from charkha.monitoring.performance import Span
from charkha.operations.backtest.history import History
from charkha.operations.backtest.policies import Variant
from charkha.operations.backtest.results import Backtest, Tried
from charkha.operations.backtest.simulate import simulate
from charkha.operations.backtest.trainings import Trainings, Version
from charkha.spec.durations import DAY_US
from charkha.training.pipeline import Order

OnProgress = Callable[[int, int, str], None]
HOUR_SECONDS = 3600.0


@frozen(kw_only=True)
class Terms:
    """What is tried, and how. price: of an hour of a processor, in any one unit; None where it is not known.

    look_every_us: how far looks for incidents are apart, of the policies that look.
    """

    variants: Sequence[Variant]
    span: Span
    look_every_us: int = DAY_US
    price: float | None = None
    put_in: tuple[str, ...] = ()


def backtest(project: str, history: History, terms: Terms, on_progress: OnProgress) -> Backtest:
    """Return what each policy would have shown. project: its name. on_progress: of how much how much is done, and what.

    Raises what a training raises where the first champion cannot be trained (`trainings.REFUSALS`).
    """
    span, model = terms.span, history.model
    trainings, root = Trainings(history), history.readings.sources.root
    days = -(-(span.until_us - span.since_us) // DAY_US)
    tried: list[Tried] = []
    first: Version | None = None
    for number, variant in enumerate(terms.variants):
        name = f"{variant.policy.name}, {variant.window}"

        def on_day(now_us: int, name: str = name, done: int = number * days) -> None:
            day = (now_us - span.since_us) // DAY_US
            on_progress(done + day, days * len(terms.variants), f"{name}: {to_iso(now_us)[:10]}")

        on_progress(number * days, days * len(terms.variants), f"{name}: training the first champion")
        order = Order(variant.model, root, span.since_us, f"{model.name}/train/1")
        own = trainings.train(order, "v1", None)
        first = first or own
        shown = simulate(variant, history, trainings, own, span, every_us=terms.look_every_us, on_day=on_day)
        tried.append(_priced(shown, terms.price))
    places = history.places(span)
    return Backtest(
        project=project,
        model=model.name,
        metric=model.metrics[0],
        higher_is_better=model.higher_is_better,
        since=to_iso(span.since_us),
        until=to_iso(span.until_us),
        predictions=places.stop - places.start,
        labels=int(np.isfinite(history.truth[places]).sum()),
        first=first.verdict if first else "",
        put_in=terms.put_in,
        dataset_cpu_seconds=history.cpu_seconds,
        tried=tuple(tried),
    )


def _priced(tried: Tried, price: float | None) -> Tried:
    if price is None:
        return tried
    hours = (tried.train_cpu_seconds + tried.look_cpu_seconds) / HOUR_SECONDS
    return evolve(tried, money=hours * price)
