"""`charkha serve`: answer predictions over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from charkha.cli.session import session_of

EXAMPLES = {
    "serve": (
        "charkha serve",
        "charkha serve --workers 4 --auth",
        "charkha keys create shop --role predict && charkha serve --host 0.0.0.0 --port 80",
        "charkha serve --host 0.0.0.0 --port 443 --tls-cert server.pem --tls-key server-key.pem",
        "charkha serve --grpc-port 8001",
        'curl localhost:8000/v1/models/likes/predict --json \'{"user_id": 9290, "movie_id": 1535108}\'',
    )
}


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of the machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=256, help="How many processes answer; one for each core.")] = 1,
    drain_seconds: Annotated[
        float, typer.Option(min=0, max=600, help="How long SIGTERM lets /readyz say no before serving ends.")
    ] = 1.0,
    worker_memory_mb: Annotated[
        int | None,
        typer.Option(min=100, metavar="MB", help="Replace a worker that holds more memory; pages of the state count."),
    ] = None,
    auth: Annotated[
        bool, typer.Option("--auth", help="Ask for API keys at this machine's own address too; at others it is so.")
    ] = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Serve over TLS, gRPC too, with this certificate and its chain, in PEM."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The certificate's private key, in PEM and not encrypted.",
        ),
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port for gRPC; nothing is served over it unless given.")
    ] = None,
) -> None:
    """Serve every model of the project over HTTP, and over gRPC if it is given a port.

    POST /v1/models/MODEL/predict answers one request or many; /v1/sources/SOURCE/events takes new rows;
    /v1/models/MODEL/labels takes the truth. Clients of the Open Inference Protocol (/v2) and of MLflow (/invocations)
    are answered too. /docs shows all of it with the project's own fields; /metrics is for Prometheus.

    At any address but this machine's own (127.0.0.1, localhost) each call must show an API key that may do what it
    asks, over gRPC too: charkha keys create makes one. A key that is revoked opens nothing from the next second on.

    A version that is promoted, rolled back or put in shadow meanwhile is swapped in without a failed request. SIGTERM
    ends it without one too: /readyz says no first, then calls in progress end.
    """
    from charkha.serving.server import run
    from charkha.serving.tls import load_tls

    tls, project = load_tls(tls_cert, tls_key), session_of(context).project()
    run(
        project,
        host=host,
        port=port,
        workers=workers,
        drain_seconds=drain_seconds,
        worker_memory_mb=worker_memory_mb,
        auth=auth,
        tls=tls,
        grpc_port=grpc_port,
    )
