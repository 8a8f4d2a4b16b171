"""Who may call what: each route needs a role, each call shows a key, and the keys are those of the ledger.

A call without a key is answered only where a route is open. Unknown keys and wrong secrets are told apart neither by
the answer nor by the time it takes. No key is ever in an answer or a log.

A browser cannot be told to send a header of ours, and does ask for a password: so the key may be that, and `/docs` and
its forms work. No other site can use what the browser remembers: bodies must be JSON, which a browser sends elsewhere
only if that server allows it, and none here does.
"""

from base64 import b64decode
from collections.abc import Iterable
from functools import lru_cache
from hmac import compare_digest
from typing import Literal

from attrs import frozen

from charkha.clock import Clock, to_iso
from charkha.serving.allowance import Allowance
from charkha.serving.calls import RequestHeaders
from charkha.serving.keys import digest_of, parts_of
from charkha.serving.metrics import ServingMetrics
from charkha.serving.refusals import Forbidden, RateLimited, Refused, Unauthenticated
from charkha.storage.ledger import ApiKey, KeyRole, Ledger

OPEN: Literal["open"] = "open"
ANY_KEY: Literal["any key"] = "any key"
# What a route needs: nothing, any key, or one with a role.
Need = KeyRole | Literal["open", "any key"]

_NONE = "an API key, as the header Authorization: Bearer KEY or X-API-Key: KEY"
_DIGESTS = 1024
# What an unknown id is compared with: nothing has this digest.
_NOBODY = bytes(32)


@frozen(eq=False)
class _Held:
    """A key of the ring, ready to be compared. allowance: None for any number of calls."""

    key: ApiKey
    digest: bytes
    allowance: Allowance | None

    def may(self, need: Need) -> bool:
        return need == ANY_KEY or need in self.key.roles or "admin" in self.key.roles


class Keyring:
    """The keys that one worker knows; `refresh` follows the ledger, from any thread.

    workers: how many share the keys' rates; each allows its part.
    """

    def __init__(self, ledger: Ledger, clock: Clock, metrics: ServingMetrics, workers: int = 1) -> None:
        self._ledger, self._clock, self._metrics, self._workers = ledger, clock, metrics, workers
        self._held: dict[str, _Held] = {}
        self._counted = (0, 0)
        # Bounded, and by whole secrets: strangers can at most push one another out of it.
        self._digest = lru_cache(_DIGESTS)(digest_of)

    def refresh(self) -> bool:
        """Take over what the ledger says now; return whether anything changed."""
        counted = self._ledger.api_keys_counted()
        if counted == self._counted:
            return False
        self._held = dict(self._taken(self._ledger.api_keys()))
        self._counted = counted
        return True

    def problems(self) -> dict[str, str]:
        """Return what of the ledger could not be followed: nothing ever, for keys are followed whole or not at all."""
        return {}

    def admit(self, headers: RequestHeaders, need: Need) -> None:
        """Let a call pass that may do what its route needs. headers: its own; over gRPC, its metadata.

        Raises Refused (400) for two keys, Unauthenticated (401), Forbidden (403) and RateLimited (429).
        """
        if need == OPEN:
            return
        held = self._held_by(headers)
        if not held.may(need):
            raise Forbidden(need, held.key.roles)
        if held.allowance is not None and (wait := held.allowance.take()):
            self._metrics.rate_limited(held.key.name)
            raise RateLimited(held.key.name, held.key.rate or 0.0, wait)

    def knows(self, headers: RequestHeaders) -> bool:
        """Say whether a call shows a key that is in use, whatever it may; costs nothing of the key's rate."""
        try:
            self._held_by(headers)
        except Refused:
            return False
        return True

    def _held_by(self, headers: RequestHeaders) -> _Held:
        """Return the key that a call shows. Raises Unauthenticated."""
        shown = _shown(headers)
        if shown is None:
            raise Unauthenticated(f"expected {_NONE}, got none")
        held = self._find(shown)
        if held is None:
            raise Unauthenticated(f"expected {_NONE}, got one that is not known here", wrong=True)
        if not held.key.is_usable(self._clock.now()):
            raise Unauthenticated(f"expected {_NONE} that is in use, got one that {_ended(held.key)}", wrong=True)
        return held

    def _find(self, text: str) -> _Held | None:
        """Return the key that was shown, after the same work whether its id is known or not."""
        parts = parts_of(text)
        if parts is None:
            return None
        held = self._held.get(parts[0])
        same = compare_digest(self._digest(parts[1]), _NOBODY if held is None else held.digest)
        return held if same else None

    def _taken(self, keys: Iterable[ApiKey]) -> Iterable[tuple[str, _Held]]:
        """Yield the keys by id. What a key has used of its rate is not given back because another key changed."""
        for key in keys:
            known = self._held.get(key.id)
            if known is not None and known.key == key:
                yield key.id, known
                continue
            allowance = None if key.rate is None else Allowance(key.rate / self._workers)
            yield key.id, _Held(key, bytes.fromhex(key.digest), allowance)


def _shown(headers: RequestHeaders) -> str | None:
    """Return the key that a call shows, None without one. Raises Refused (400) where it shows two that differ."""
    given, own = headers.get("authorization"), headers.get("x-api-key")
    shown, alone = None if given is None else _authorised(given), None if own is None else str(own.strip())
    if shown is not None and alone is not None and shown != alone:
        said = "expected one API key, got another in X-API-Key than in Authorization. Send one of the two headers"
        raise Refused(400, "invalid_header", said, "x-api-key")
    return alone if shown is None else shown


def _authorised(given: str) -> str | None:
    """Return the key of an Authorization header, None where its scheme is another."""
    scheme, _, text = given.partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    return _password(text) if scheme.lower() == "basic" else None


def _password(basic: str) -> str:
    """Return the password of a browser's credentials, "" where there is none; the user's name may be any."""
    try:
        return b64decode(basic, validate=True).decode("ascii").partition(":")[2]
    except ValueError:
        return ""


def _ended(key: ApiKey) -> str:
    """Return since when a key opens nothing. Only who has its secret is told."""
    if key.revoked_us is not None:
        return f"was revoked at {to_iso(key.revoked_us)}"
    return f"expired at {to_iso(key.expires_us or 0)}"
