"""Pictures that wait for an ensemble: who is alone."""

import asyncio
import threading

from quorate.serving.line import Line, Looked


def test_a_picture_is_alone_where_nothing_else_is_at_work_or_waits():
    goes_on, seen = threading.Event(), []

    def look(pictures, names, only, wanted, alone):
        seen.append((pictures[0], alone))
        assert goes_on.wait(60)
        return [Looked(one, ()) for one in pictures]

    async def ask():
        line = Line(look, threads=2, batch=1, limit=9)
        first = asyncio.create_task(line.ask([b"first"]))
        await asyncio.sleep(0)
        more = [asyncio.create_task(line.ask([name])) for name in (b"second", b"third")]
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.gather(first, *more)
        await line.ask([b"last"])
        await line.ask([b"two", b"of them"])
        line.close()

    asyncio.run(ask())
    assert dict(seen) == {
        b"first": True, b"second": False, b"third": False, b"last": True, b"two": False,
        b"of them": False,
    }  # fmt: skip
