"""A client that waits gives a call up after its timeout, however its answer dribbles in or its question out."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from charkha.client import Client
from charkha.client.errors import Unreachable

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n"


def dribbles_body(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(HEAD)
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(0.1)


def dribbles_head(connection: socket.socket) -> None:
    connection.recv(65536)
    for byte in HEAD:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def dribbles_question(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(60):
        connection.recv(4096)
        time.sleep(0.1)


@contextmanager
def answering(how: Callable[[socket.socket], None]) -> Iterator[str]:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            how(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)


@pytest.mark.parametrize("how", [dribbles_body, dribbles_head, dribbles_question])
def test_the_timeout_is_of_the_whole_call(how: Callable[[socket.socket], None]) -> None:
    with answering(how) as url, Client(url, timeout=0.6, retries=0) as client:
        began = time.perf_counter()
        with pytest.raises(Unreachable, match=r"expected an answer within 0\.6 s"):
            client.predict("m", {"a": "x" * (20 << 20 if how is dribbles_question else 1)})
        assert 0.5 < time.perf_counter() - began < 2
