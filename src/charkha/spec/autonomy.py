"""What the operator may do by itself, of each kind of step: observe, propose or act."""

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

Mode = Literal["observe", "propose", "act"]
MODES: tuple[Mode, ...] = ("observe", "propose", "act")
Deed = Literal[
    "rollout", "retrain", "page", "recalibrate", "quarantine_feature", "serve_fallback", "roll_back", "eject_replica"
]
# What has gates and a comparison before it, or reaches nobody but a person, acts; a new remedy is proposed.
DEFAULTS: Mapping[Deed, Mode] = {
    "rollout": "act",
    "retrain": "act",
    "page": "act",
    "recalibrate": "propose",
    "quarantine_feature": "propose",
    "serve_fallback": "propose",
    "roll_back": "propose",
    "eject_replica": "propose",
}


@frozen
class Autonomy:
    """What the operator does by itself: "observe" writes once what it would do, "propose" asks a person, "act" does it.

    mode: of everything that is not named. Without it: rollout, retraining and paging act, all other remedies propose.
    rollout: start, promote and reject challengers, and the first champion. retrain: train a challenger.
    page: tell the owner of what is at fault, by a decision and the webhooks. recalibrate: learn the calibration anew.
    quarantine_feature: train and serve a version without the views at fault. serve_fallback: put the model on its
        fallback while it is at fault. roll_back: go back to the last good one. eject_replica: have a serving process
        that is at fault replaced.
    """

    mode: Mode | None = None
    rollout: Mode | None = field(default=None, kw_only=True)
    retrain: Mode | None = field(default=None, kw_only=True)
    page: Mode | None = field(default=None, kw_only=True)
    recalibrate: Mode | None = field(default=None, kw_only=True)
    quarantine_feature: Mode | None = field(default=None, kw_only=True)
    serve_fallback: Mode | None = field(default=None, kw_only=True)
    roll_back: Mode | None = field(default=None, kw_only=True)
    eject_replica: Mode | None = field(default=None, kw_only=True)

    def of(self, deed: Deed) -> Mode:
        """Return what may be done by itself of one kind of step."""
        named: Mode | None = getattr(self, deed)
        return named or self.mode or DEFAULTS[deed]
