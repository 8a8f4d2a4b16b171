"""How many days of predictions are kept: as declared, and never fewer than the operator looks back on."""

from charkha.spec.durations import DAY_US, parse_duration
from charkha.spec.model import Model

# Where a model does not say. A year, and the month before it to compare with.
DAYS = 400
# A shadow is given up when its labels do not suffice after this many times its period and the labels' delay.
PATIENCE = 4


def keep_days(model: Model) -> int:
    """Return for how many days the predictions of a checked model are kept."""
    return model.log.keep_days or max(DAYS, least_days(model))


def least_days(model: Model) -> int:
    """Return how many days of predictions the operator looks back on; durations that are faulty count as nothing.

    Those are the day that is not over and, before the label's delay, the longer of the monitors' window and a rollout.
    """
    delay_us = _duration_us(model.label, "delay")
    rollout_us = PATIENCE * (_duration_us(getattr(model.rollout, "shadow", None), "period") + delay_us)
    canary_us = PATIENCE * _duration_us(getattr(model.rollout, "canary", None), "period")
    live = getattr(model.rollout, "live", False)
    test_us = delay_us + _duration_us(getattr(model.rollout, "compare", None), "within") if live else 0
    return 1 - -(delay_us + max(_duration_us(model.monitors, "window"), rollout_us, canary_us, test_us)) // DAY_US


def _duration_us(owner: object, name: str) -> int:
    try:
        return parse_duration(getattr(owner, name, ""))
    except ValueError:
        return 0
