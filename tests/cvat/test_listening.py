"""How our servers listen."""

import asyncio
import socket

from quorate.http.listening import bound


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
