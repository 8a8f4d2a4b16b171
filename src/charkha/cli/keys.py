"""`charkha keys`: the API keys of those who call a server, made, listed and revoked."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from charkha.cli.deploy import Reason
from charkha.cli.options import AsJson
from charkha.cli.session import opened, opened_to_read, person, session_of

if TYPE_CHECKING:
    from charkha.storage.ledger import ApiKey, KeyRole

EXAMPLES = {
    "create": (
        "charkha keys create shop --role predict --role ingest",
        "charkha keys create nightly-labels --role label --expires 90d --rate 50",
        "charkha keys create prometheus --role operate > prometheus.key",
    ),
    "list_keys": ("charkha keys list", "charkha keys list --json | jq '.[] | select(.state == \"usable\") | .id'"),
    "revoke": ('charkha keys revoke 5f0c3a91d2e4 --reason "it was in a public repository"',),
}


class Role(StrEnum):
    """What a key may do."""

    PREDICT = "predict"
    INGEST = "ingest"
    LABEL = "label"
    OPERATE = "operate"
    ADMIN = "admin"


def create(
    context: typer.Context,
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who calls with it, for lists and metrics: such as shop.")
    ],
    role: Annotated[
        list[Role],
        typer.Option(
            "--role", help="What it may do; may be given several times. operate reads metrics, admin may everything."
        ),
    ],
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="For how long it holds, such as 90d; unless given, for ever.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Calls a second, over all workers; unless given, any number."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Make an API key, and print it: this once, for only a digest of it is kept.

    Servers that run know it within a quarter of a second. Clients send it with each call, as the header Authorization:
    Bearer KEY or X-API-Key: KEY. Several keys may have one name: to change a key, make a second one, give it to the
    client, and revoke the first.
    """
    from charkha.clock import SystemClock
    from charkha.serving.keys import create_key

    session = session_of(context)
    roles = cast("list[KeyRole]", [each.value for each in role])
    lasts_us = None if expires is None else duration(expires)
    with opened(session.project()) as home:
        made = create_key(home.ledger, SystemClock(), name, roles, actor=person(), lasts_us=lasts_us, rate=rate)
    if json:
        session.print_json({"key": made.text, **as_plain(made.key)})
        return
    print(made.text)
    session.err.print(
        f"{made.key.id} of {name} {made.decision.reason}. Keep the key now, it is not shown again",
        highlight=False,
        soft_wrap=True,
    )


def list_keys(context: typer.Context, *, json: AsJson = False) -> None:
    """List the API keys: whose they are, what they may do, until when; also those that open nothing any more."""
    session = session_of(context)
    with opened_to_read(session.project()) as home:
        keys = home.ledger.api_keys()
    if json:
        session.print_json([as_plain(key) for key in keys])
    elif keys:
        session.out.print(key_table(keys))
    else:
        session.out.print("no keys yet: charkha keys create NAME --role predict", highlight=False)


def revoke(
    context: typer.Context,
    *,
    key: Annotated[str, typer.Argument(metavar="ID", help="Which key, as charkha keys list shows it.")],
    reason: Reason = "no reason given",
    json: AsJson = False,
) -> None:
    """Have an API key open nothing any more, for ever.

    Every worker of every server refuses it within a second, and goes on refusing it after a restart.
    """
    from charkha.clock import SystemClock
    from charkha.serving.keys import revoke_key

    session = session_of(context)
    with opened(session.project()) as home:
        decision = revoke_key(home.ledger, SystemClock(), key, actor=person(), reason=reason)
    if json:
        session.print_json(decision)
    else:
        session.out.print(f"{key} is revoked (decision {decision.sequence})", highlight=False)


COMMANDS: dict[str, Callable[..., None]] = {"create": create, "list": list_keys, "revoke": revoke}


def duration(text: str) -> int:
    """Return a duration in µs. Raises BadParameter."""
    from charkha.spec.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None


def as_plain(key: "ApiKey") -> dict[str, object]:
    """Return what may be shown of a key."""
    from charkha.clock import to_iso

    def when(time_us: int | None) -> str | None:
        return None if time_us is None else to_iso(time_us)

    return {
        "id": key.id,
        "name": key.name,
        "roles": key.roles,
        "rate": key.rate,
        "created": when(key.created_us),
        "expires": when(key.expires_us),
        "revoked": when(key.revoked_us),
        "state": state_of(key),
    }


def state_of(key: "ApiKey") -> str:
    """Say whether a key opens anything now."""
    from charkha.clock import SystemClock

    if key.is_usable(SystemClock().now()):
        return "usable"
    return "expired" if key.revoked_us is None else "revoked"


def key_table(keys: "list[ApiKey]") -> Table:
    """Return keys as a table."""
    from charkha.clock import to_iso

    table = Table("id", "name", "may", "a second", "made", "expires", "", box=None, header_style="dim", pad_edge=False)
    for key in keys:
        made = to_iso(key.created_us)[:10]
        expires = "never" if key.expires_us is None else to_iso(key.expires_us)[:16].replace("T", " ")
        rate = "any" if key.rate is None else f"{key.rate:g}"
        table.add_row(key.id, key.name, ", ".join(key.roles), rate, made, expires, state_of(key))
    return table
