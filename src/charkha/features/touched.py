"""Many changes of the online state, each key written once: however often rows of one batch touch it."""

from attrs import define, field

from charkha.storage.online import OnlineWriter


@define(eq=False)
class Touched:
    """What a batch of rows makes of the state, on its way into a transaction. `flush` puts it there."""

    _state: OnlineWriter
    _changed: dict[bytes, bytes] = field(factory=dict)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        changed = self._changed.get(key)
        return changed if changed is not None else self._state.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key, for now here alone."""
        self._changed[key] = value

    def flush(self) -> None:
        """Write every key that was changed, in the order of keys: those that lie together, together."""
        self._state.put_many(sorted(self._changed.items()))
        self._changed.clear()
