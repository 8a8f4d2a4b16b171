"""Checks of how a model's predictions are kept: long enough for all that looks back on them."""

from collections.abc import Iterator

from charkha.spec.checks.values import number_faults, quote
from charkha.spec.faults import Fault
from charkha.spec.model import Model
from charkha.spec.policies import LogPolicy
from charkha.spec.retention import least_days

# Of a million predictions one has its features logged at least: of none, nothing could be verified.
FEATURES_SHARE = ("a share of the predictions from 1e-6 to 1", 1e-6, 1.0)


def log_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with the policy of the log."""
    inner, log = f"{where}, log", model.log
    if not isinstance(log, LogPolicy):
        yield Fault(inner, "a ck.LogPolicy", quote(log), "Write ck.LogPolicy(keep_days=400).")
        return
    if log.keep_days is None:
        pass
    elif isinstance(log.keep_days, bool) or not isinstance(log.keep_days, int):
        yield Fault(f"{inner}.keep_days", "a whole number of days", quote(log.keep_days), "Write keep_days=400.")
    elif log.keep_days < (least := least_days(model)):
        said = f"at least {least} days, for labels come late and what they say is measured over a window or a rollout"
        remedy = (
            f"Write keep_days={least} or more, or shorten the label's delay, monitors.window or the shadow's period."
        )
        yield Fault(f"{inner}.keep_days", said, quote(log.keep_days), remedy)
    if log.on_full_disk not in ("refuse", "serve_unlogged"):
        remedy = 'Write on_full_disk="refuse" or on_full_disk="serve_unlogged".'
        yield Fault(f"{inner}.on_full_disk", '"refuse" or "serve_unlogged"', quote(log.on_full_disk), remedy)
    yield from number_faults(f"{inner}.features_share", log.features_share, *FEATURES_SHARE)
