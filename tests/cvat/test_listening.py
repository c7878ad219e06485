"""How our servers listen."""

import asyncio
import socket
import threading
import time
from concurrent.futures import Future

import pytest

from quorate.http import patience
from quorate.http.listening import bound, listen


def test_small_answers_are_sent_at_once():
    """Else each waits some 40 ms for the client to acknowledge what was sent before it."""
    seen = []

    async def answer(reader, writer):
        own = writer.get_extra_info("socket")
        seen.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        await writer.wait_closed()

    async def ask():
        server = await asyncio.start_server(answer, sock=bound("127.0.0.1", 0))
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()

    asyncio.run(ask())
    assert seen == [1]


@pytest.fixture
def address(monkeypatch):
    """Where a server listens that has little patience, and answers slowly or at length."""
    monkeypatch.setattr(patience, "PATIENCE", 0.3)

    async def application(scope, receive, send):
        if scope["type"] != "http":
            return
        await asyncio.sleep(1.5 if scope["path"] == "/slow" else 0)
        await send({"type": "http.response.start", "status": 200})
        body = bytes(50_000_000 if scope["path"] == "/long" else 5)
        await send({"type": "http.response.body", "body": body})

    ends, ready = Future(), Future()
    one = bound("127.0.0.1", 0)
    serving = threading.Thread(
        target=listen,
        args=(application, one),
        kwargs={"host": "127.0.0.1", "ready": ready.set_result, "ends": ends},
    )
    serving.start()
    ready.result(60)
    yield one.getsockname()
    ends.set_result(None)
    serving.join(60)


ASK = b"GET /%s HTTP/1.1\r\nHost: here\r\n%s\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (ASK % (b"", CHUNKS), b"1\r\nx\r\n"),
        (ASK % (b"", b"") + b"GET ", b"/"),
    ],
    ids=["says nothing", "never ends its headers", "goes on sending what is not read", "asks half"],
)
def test_a_client_that_does_not_ask_is_left(address, sent, more):
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(sent)
        client.settimeout(0.05)
        for _ in range(200):
            try:
                client.sendall(more)
                if not client.recv(1000):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it is still there")


def test_a_client_that_does_not_read_is_left(address):
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(ASK % (b"long", b""))
        time.sleep(3)
        got = 0
        try:
            while part := client.recv(1 << 20):
                got += len(part)
        except OSError:
            pass
    assert got < 50_000_000


def test_a_client_that_waits_for_its_answer_is_answered(address):
    with socket.create_connection(address, timeout=60) as client:
        for path in (b"slow", b"", b"slow"):
            client.sendall(ASK % (path, b""))
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                part = client.recv(1000)
                assert part
                answer += part
            assert answer.startswith(b"HTTP/1.1 200")
