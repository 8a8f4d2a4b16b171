"""What must not be carried over a fork: locks held by files, memory maps and database connections."""

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Anything that holds resources of its process."""

    def after_fork(self) -> None:
        """Forget them in the child, without releasing what the parent still uses."""
        ...


_HOLDERS: "WeakSet[Forkable]" = WeakSet()


def renewed_after_fork(holder: Forkable) -> None:
    """Have `holder.after_fork()` called in every child that is forked while `holder` is alive."""
    _HOLDERS.add(holder)


def _renew_all() -> None:
    for holder in list(_HOLDERS):
        holder.after_fork()


os.register_at_fork(after_in_child=_renew_all)
