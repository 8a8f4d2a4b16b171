"""API keys as text: made, shown once, and known again by what is kept of them.

A key is `ck_<id>_<secret>`: 12 hex digits that may be shown, and 64 that are 32 random bytes. Only the SHA-256 of the
secret is kept. A slow hash would buy nothing: it makes guessing dear where there are few secrets to guess, and there
are 2²⁵⁶ of these; but it would cost every request.
"""

import math
import secrets
from collections.abc import Sequence
from hashlib import sha256

from attrs import field, frozen

from charkha.clock import Clock, to_iso
from charkha.spec.durations import DAY_US, format_duration
from charkha.storage.ledger import ApiKey, Decision, Draft, KeyRole, Ledger
from charkha.storage.names import checked_name

MOST_US = 36_500 * DAY_US
_PREFIX, _ID_END, _LENGTH = "ck_", 15, 80


class ImpossibleKey(ValueError):
    """A key that would open nothing, or of which the ledger could not say until when."""

    def __init__(self, name: str, expected: str, found: object) -> None:
        self.name = name
        super().__init__(f"API key {name!r}: expected {expected}, got {found}")


@frozen
class MadeKey:
    """A key that was just made. text: the key itself, which nobody can show again."""

    text: str = field(repr=False)
    key: ApiKey
    decision: Decision


def create_key(
    ledger: Ledger,
    clock: Clock,
    name: str,
    roles: Sequence[KeyRole],
    *,
    actor: str,
    lasts_us: int | None = None,
    rate: float | None = None,
) -> MadeKey:
    """Make a key and keep its digest; the decision is in the ledger.

    name: for metrics and lists; several keys may have one, so that one can take another's place. lasts_us: how long it
    opens anything (µs). rate: calls a second. Raises BadName, and ImpossibleKey for what no key can be.
    """
    checked_name("name of an API key", name)
    if not roles:
        raise ImpossibleKey(name, "at least one role", "none")
    if lasts_us is not None and not 0 < lasts_us <= MOST_US:
        raise ImpossibleKey(name, f"a time of at most {format_duration(MOST_US)} until it expires", f"{lasts_us} µs")
    if rate is not None and not 0 < rate < math.inf:
        raise ImpossibleKey(name, "a finite number of calls a second above 0, or no rate for any number", rate)
    id_, secret, now_us = secrets.token_hex(6), secrets.token_hex(32), clock.now()
    expires_us = None if lasts_us is None else now_us + lasts_us
    key = ApiKey(id_, name, tuple(dict.fromkeys(roles)), digest_of(secret).hex(), now_us, expires_us, None, rate)
    evidence = {"id": id_, "roles": key.roles, "expires_us": expires_us, "rate": rate}
    draft = Draft(f"keys/{id_}/create", now_us, f"key {name}", actor, "create", _permission(key), evidence)
    return MadeKey(f"{_PREFIX}{id_}_{secret}", key, ledger.create_api_key(key, draft))


def revoke_key(ledger: Ledger, clock: Clock, id_: str, *, actor: str, reason: str) -> Decision:
    """Have a key open nothing any more; one that was revoked before stays as it was. Raises UnknownKey."""
    name = ledger.api_key(id_).name
    draft = Draft(f"keys/{id_}/revoke", clock.now(), f"key {name}", actor, "revoke", reason, {"id": id_})
    return ledger.revoke_api_key(id_, draft)


def usable_keys(ledger: Ledger, now_us: int) -> list[ApiKey]:
    """Return the keys that open anything at a time."""
    return [key for key in ledger.api_keys() if key.is_usable(now_us)]


def parts_of(text: str) -> tuple[str, str] | None:
    """Return id and secret of a key; None for what cannot be one."""
    if len(text) != _LENGTH or text[: len(_PREFIX)] != _PREFIX or text[_ID_END] != "_":
        return None
    return text[len(_PREFIX) : _ID_END], text[_ID_END + 1 :]


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret, whatever text it is."""
    return sha256(secret.encode("utf-8", "replace")).digest()


def _permission(key: ApiKey) -> str:
    until = "" if key.expires_us is None else f", until {to_iso(key.expires_us)}"
    rate = "" if key.rate is None else f", {key.rate:g} calls a second"
    return f"may {', '.join(key.roles)}{until}{rate}"
