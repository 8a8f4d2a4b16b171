"""What the operator itself uses, put down to the models it watches: by stage, added up by the day."""

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from charkha.clock import Clock, to_iso
from charkha.spec.model import Model
from charkha.storage.ledger import WHOLE, Ledger, Usage
from charkha.storage.metering import Meter, Stage, Used, memory_bytes, used_here

KIND = "operator"
# Its stages: what is collected and measured, and what is looked at, decided and done.
MONITORING, DECIDING = "monitoring", "deciding"


@define(eq=False)
class OperatorMeter:
    """Meters the ticks of an operator that has its process to itself; its children are metered for themselves."""

    ledger: Ledger
    clock: Clock
    _marked: Used = field(init=False, factory=lambda: used_here(children=False))

    @contextmanager
    def tick(self, model: Model) -> Iterator[Stage]:
        """Yield what meters the stages of a tick; what was used since the last one ended is the whole of this.

        The children that the operator has waited for are not in it.
        """
        now_us = self.clock.now()
        run = f"{model.name}/{KIND}/{to_iso(now_us)[:10]}"
        usages: list[Usage] = []
        meter = Meter(
            kind=KIND,
            run=run,
            model=model.name,
            team=model.owner,
            clock=self.clock,
            on_usage=usages.append,
            attempt="ticks",
            children=False,
        )
        try:
            yield meter.stage
        finally:
            before, self._marked = self._marked, used_here(children=False)
            whole = meter.usage(WHOLE, now_us, before, self._marked, peak=memory_bytes(), gpu=0.0)
            self.ledger.record_usage([*usages, whole])
