"""Clients that fall silent, or do not read, while others are served: these notice nothing."""

import concurrent.futures
import contextlib
import socket
import threading

import httpx
import pytest

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and no settings
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n"
LONG = GET.replace(b"/healthz", b"/docs/swagger-ui.js")  # more than a megabyte
SILENT = {  # what is sent before: to REST, and to gRPC
    "nothing": (b"", b""),
    "half a head": (POST[:40], HTTP2[:10]),
    "half a body": (POST + b'{"user', HTTP2),
}


def connected(address, sent):
    """A connection that has sent something."""
    host, port = address.removeprefix("http://").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # little is read unasked
    made.settimeout(30)
    made.connect((host, int(port)))
    made.sendall(sent)
    return made


def rest_of(connection):
    """All that comes until the connection ends."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    connection.close()
    return b"".join(parts)


@pytest.fixture
def load(server):
    """Clients that ask again and again, and the statuses of their answers."""
    stop, seen = threading.Event(), []

    request = {"model": "two_tower", "user_id": "u1"}

    def ask():
        with httpx.Client(base_url=server.rest, timeout=30) as client:
            while not stop.wait(0.02):
                seen.append(client.post("/recommend", json=request).status_code)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        yield seen
        stop.set()
        for each in clients:
            each.result()


@pytest.mark.slow
def test_clients_that_fall_silent_are_let_go_and_others_answered(server, load):
    waiting = {}
    for name, (rest, grpc) in SILENT.items():
        waiting["REST", name] = connected(server.rest, rest)
        waiting["gRPC", name] = connected(server.grpc, grpc)
    unread, second = connected(server.rest, 10 * LONG), connected(server.rest, GET)
    alive = httpx.get(f"{server.rest}/healthz").content
    answer = second.recv(1000)
    while not answer.endswith(alive):  # its head may come alone
        answer += second.recv(1000)
    assert answer.startswith(b"HTTP/1.1 200")
    second.sendall(POST[:40])
    waiting["REST", "half a head after a request"] = second
    before = len(load)
    ends = {what: rest_of(each) for what, each in waiting.items()}
    assert ends["REST", "half a body"].startswith(b"HTTP/1.1 408")
    assert not any(
        ends["REST", what] for what in ("nothing", "half a head", "half a head after a request")
    )
    assert 0 < len(rest_of(unread)) < 10 * 1_500_000  # what was on its way, and no more
    assert len(load) > before and set(load) == {200}


@pytest.mark.slow
def test_who_reads_slowly_gets_all_of_it(server, http):
    whole = http.get("/docs/swagger-ui.js").content
    slow = connected(server.rest, LONG)
    got = b""
    for _ in range(4):
        got += slow.recv(20_000)
        threading.Event().wait(1)
    slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    got += rest_of(slow)
    assert whole in got
