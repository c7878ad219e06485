"""More than a server can do: it sheds what is too much, answers all else, and does not grow."""

import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.detectors.servers.real import free_ports
from tests.serving.puppets import told

CLIENTS = 40
pytestmark = pytest.mark.slow


def resident(process) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


def flood(puppets, server, count: int) -> Counter:
    """What becomes of so many requests of many clients, none of which waits for its turn."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(
            answer.status_code
            for answer in clients.map(lambda _: puppets.ask(server), range(count))
        )


def test_twice_as_much_is_shed_and_memory_stays_flat(puppets):
    with puppets.start("--queue", "8") as server:
        first = flood(puppets, server, 400)
        before = resident(server.process)
        found = sum((flood(puppets, server, 400) for _ in range(4)), Counter())
        after = resident(server.process)
        assert {*first, *found} <= {200, 429}
        assert found[200] > 100
        assert found[429] > 100
        assert after - before < 48 << 20, f"{before >> 20} MiB, then {after >> 20} MiB"
        assert told(puppets.ask(server))["votes"] == [3, 3]
        assert "Traceback" not in server.log


def test_killed_under_load_and_started_again_it_answers_the_same(puppets):
    [port] = free_ports(1)
    answers, over = [], threading.Event()

    def ask():
        generator = random.Random(threading.get_ident())
        while not over.is_set():
            url = f"http://127.0.0.1:{port}/v2/models/spots/infer"
            try:
                answer = requests.post(url, json=puppets.body(), timeout=60)
            except requests.RequestException:  # it is down, and was not answered
                time.sleep(0.05 * generator.random())
                continue
            if answer.status_code == 200:
                answers.append(answer.json()["outputs"])

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for one in clients:
        one.start()
    try:
        for _ in range(2):
            count = len(answers)
            with puppets.process(port) as process:
                while len(answers) < count + 40:
                    assert process.poll() is None
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
    finally:
        over.set()
        for one in clients:
            one.join()
    assert all(one == answers[0] for one in answers)
