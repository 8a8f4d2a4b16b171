"""Keys and TLS as users run them: `charkha serve` in processes of its own, and clients that are not trusted."""

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from certificates import make_certificate
from cryptography.hazmat.primitives.serialization import PrivateFormat
from server_process import ServerProcess, child_environment, free_port, start_serve

from charkha.clock import SystemClock
from charkha.serving.exposure import is_loopback
from charkha.serving.keys import MadeKey, create_key, revoke_key
from charkha.serving.protocols.inference_messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.ledger import KeyRole

PREDICT = "/v1/models/late_trip/predict"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
WORKERS = 2


def make(home: Home, *roles: KeyRole, rate: float | None = None) -> MadeKey:
    return create_key(home.ledger, SystemClock(), "shop", roles, actor="test", rate=rate)


@contextmanager
def serving(project: Project, *options: str) -> Iterator[ServerProcess]:
    started = start_serve(project.root, *options)
    try:
        yield started
    finally:
        started.kill()


def ask(running: ServerProcess, key: str) -> int:
    """Ask on a connection of its own, which any worker may take."""
    url = f"http://127.0.0.1:{running.port}{PREDICT}"
    return httpx.post(url, json=ROW, headers={"authorization": f"Bearer {key}"}, timeout=20).status_code


def test_a_revoked_key_is_refused_by_all_workers_in_under_a_second_and_after_a_restart(
    project: Project, home: Home
) -> None:
    first, second = make(home, "predict"), make(home, "predict")
    with serving(project, "--auth", "--workers", str(WORKERS)) as running:
        assert {ask(running, first.text) for _ in range(20)} == {200}
        later = make(home, "predict")
        revoke_key(home.ledger, SystemClock(), first.key.id, actor="test", reason="lost")
        revoked = time.monotonic()
        while time.monotonic() < revoked + 1:
            time.sleep(0.02)
        assert {ask(running, first.text) for _ in range(40)} == {401}
        assert {ask(running, each.text) for each in (second, later) for _ in range(20)} == {200}
    with serving(project, "--auth", "--workers", str(WORKERS)) as again:
        assert {ask(again, first.text) for _ in range(20)} == {401}
        assert {ask(again, each.text) for each in (second, later) for _ in range(5)} == {200}


def test_no_key_is_in_the_log_or_the_output(project: Project, home: Home) -> None:
    good, limited = make(home, "predict"), make(home, "predict", rate=0.01)
    wrong = good.text[:-4] + "0000"
    with serving(project, "--auth") as running:
        statuses = [ask(running, key) for key in (good.text, wrong, limited.text, limited.text, "hello" * 20)]
        assert statuses == [200, 401, 200, 429, 401]
        raw = (
            f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ".encode() + b"\xff\xfe" + good.text.encode()
        )
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
            connection.sendall(raw + b"\r\ncontent-length: 0\r\n\r\n")
            assert re.match(rb"HTTP/1.1 4\d\d", connection.recv(100))
        broken = project.home / "log"
        broken.rename(project.home / "gone")  # what now fails is logged with its trace
        broken.write_text("")
        assert ask(running, good.text) in (200, 500)
        running.terminate()
        assert running.process.stdout is not None
        written = (project.root / "server.log").read_text() + running.ready_line + running.process.stdout.read()
    for text in (good.text, wrong, limited.text, "hello" * 20):
        assert text not in written
        assert text[16:] not in written


def test_a_refused_call_with_a_body_leaves_its_connection_in_order(project: Project, home: Home) -> None:
    made = make(home, "predict")
    with serving(project, "--auth") as running:
        url = f"http://127.0.0.1:{running.port}{PREDICT}"
        with httpx.Client(timeout=20) as client:
            for _ in range(3):
                large = {"rows": [ROW] * 900}
                unread = client.post(url, json=large)
                assert (unread.status_code, unread.headers["connection"]) == (401, "close")
                other = client.post(url, content=b" " * 20_000, headers={"x-api-key": made.text})
                assert (other.status_code, other.headers["connection"]) == (415, "close")
                assert "connection" not in client.post(url, json=ROW).headers
                assert client.post(url, json=ROW, headers={"x-api-key": made.text}).status_code == 200


def refused(project: Project, *options: str) -> str:
    """Return what a server says that does not start."""
    command = [sys.executable, "-m", "charkha", "--project", str(project.root), "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=child_environment(), check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_off_this_machine_a_server_without_a_usable_key_does_not_start(project: Project, home: Home) -> None:
    port = str(free_port())
    for options in (("--host", "0.0.0.0"), ("--auth",)):
        assert "charkha keys create NAME --role predict" in refused(project, *options, "--port", port)
    expired = create_key(home.ledger, SystemClock(), "shop", ["predict"], actor="test", lasts_us=1)
    revoked = make(home, "admin")
    revoke_key(home.ledger, SystemClock(), revoked.key.id, actor="test", reason="lost")
    assert expired.key.id != revoked.key.id
    assert "found none in use" in refused(project, "--host", "0.0.0.0", "--port", port)


def test_off_this_machine_keys_are_asked_for_without_saying_so(project: Project, home: Home) -> None:
    made = make(home, "predict")
    with serving(project, "--host", "0.0.0.0") as running:
        assert ask(running, "none") == 401
        assert ask(running, made.text) == 200
        assert httpx.get(f"http://127.0.0.1:{running.port}/readyz").status_code == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_this_machines_own_addresses_are_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own
    assert not is_loopback("")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_server_speaks_tls(project: Project, tmp_path: Path, form: PrivateFormat) -> None:
    made = make_certificate(tmp_path, form=form)
    with serving(project, "--tls-cert", str(made.certificate), "--tls-key", str(made.key)) as running:
        url = f"https://127.0.0.1:{running.port}"
        assert f"at {url} with 1 worker; docs at {url}/docs" in running.ready_line
        trusting = ssl.create_default_context(cafile=str(made.certificate))
        with httpx.Client(verify=trusting) as client:
            assert client.post(f"{url}{PREDICT}", json=ROW).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")  # nobody whom this client trusts has signed it
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{running.port}/healthz")
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as silent:
            assert httpx.get(f"{url}/healthz", verify=trusting).status_code == 200  # who says nothing holds up nobody
            silent.close()
        assert running.terminate() == 0


def test_tls_files_that_will_not_do_are_said_before_anything_starts(project: Project, tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    assert "got no --tls-key" in refused(project, "--tls-cert", str(made.certificate))
    assert "No such file" in refused(project, "--tls-cert", str(made.certificate), "--tls-key", "gone.pem")


def test_a_change_of_keys_under_load_fails_no_call_of_another(project: Project, home: Home) -> None:
    steady = make(home, "predict")
    statuses: list[int] = []
    stopped = threading.Event()
    with serving(project, "--auth") as running:

        def load() -> None:
            with httpx.Client(headers={"x-api-key": steady.text}) as client:
                while not stopped.is_set():
                    statuses.append(client.post(f"http://127.0.0.1:{running.port}{PREDICT}", json=ROW).status_code)

        thread = threading.Thread(target=load)
        thread.start()
        for _ in range(10):
            made = make(home, "label")
            time.sleep(0.1)
            revoke_key(home.ledger, SystemClock(), made.key.id, actor="test", reason="a test")
        stopped.set()
        thread.join()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=30) == 0
    assert set(statuses) == {200}
    assert len(statuses) > 50


def test_grpc_has_the_keys_and_the_certificate_of_http(project: Project, home: Home, tmp_path: Path) -> None:
    made, key = make_certificate(tmp_path), make(home, "predict").text
    tls = ("--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    with serving(project, "--auth", *tls, "--grpc-port", "0") as running:
        address = re.findall(r"gRPC at (\S+)", running.ready_line)[0]
        trusted = grpc.ssl_channel_credentials(made.certificate.read_bytes())
        with grpc.secure_channel(address, trusted) as channel:
            said = metadata_of(channel, (("authorization", f"Bearer {key}"),))
            assert ModelMetadataResponse.FromString(said).versions == ["v1"]
            shown = (("x-api-key", key),)
            infer: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            answer = ModelInferResponse.FromString(infer(one_row(), metadata=shown, timeout=20))
            assert (answer.model_version, len(answer.outputs)) == ("v1", 5)
            with pytest.raises(grpc.RpcError) as refused:
                metadata_of(channel)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with grpc.insecure_channel(address) as plain, pytest.raises(grpc.RpcError) as refused:
            metadata_of(plain, (("authorization", f"Bearer {key}"),))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def one_row() -> bytes:
    request = ModelInferRequest(model_name="late_trip")
    kinds = {"city": "BYTES", "km": "FP64", "stops": "INT64", "pooled": "BOOL"}
    values = {"bytes_contents": b"Pune", "fp64_contents": 1.5, "int64_contents": 2, "bool_contents": True}
    for (name, kind), (field, value) in zip(kinds.items(), values.items(), strict=True):
        getattr(request.inputs.add(name=name, datatype=kind, shape=[1]).contents, field).append(value)
    return request.SerializeToString()


def metadata_of(channel: grpc.Channel, shown: tuple[tuple[str, str], ...] = ()) -> bytes:
    method: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
    answer: bytes = method(ModelMetadataRequest(name="late_trip").SerializeToString(), metadata=shown, timeout=20)
    return answer
