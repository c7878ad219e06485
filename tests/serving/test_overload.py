"""More than a server can do, and kill -9 under load: every request ends, none in doubt."""

import signal
import threading

from quorate.client.load import asking, closed
from quorate.client.model import Model
from tests.benchmarks.overload import serving
from tests.detectors.servers.real import free_ports

OUTPUTS = ["boxes", "scores", "counts", "voters"]


def same(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in ("boxes", "scores"))


def test_a_full_server_answers_or_refuses_every_request(puppets):
    with puppets.start("--queue", "2") as server:
        model = Model.find(server.url, connection={"concurrency": 40})
        shown = [model.tensors(puppets.picture, "it")]
        ask = asking(model.network.client, OUTPUTS, shown)
        expected = ask(0)
        puppets.tell("a", "hang")
        timer = threading.Timer(2, puppets.tell, ("a", ""))
        timer.start()
        load = closed(ask, clients=40, seconds=0, most=40, keep=True)
        timer.join()
        assert load.requests == 40
        assert not load.failed
        assert set(load.refused) == {"HTTP 429"}
        # What was being looked at, and what waited, was answered.
        assert 3 <= len(load.seconds) < 40
        assert all(same(answer, expected) for answer in load.answers.values())
        after = closed(ask, clients=1, seconds=0, most=3)
        assert len(after.seconds) == 3


def test_kill_9_under_load_loses_nothing_that_was_answered(puppets, plugins):
    port, rpc = map(str, free_ports(2))
    words = (str(puppets.write()), "--port", port, "--grpc-port", rpc)
    with serving(*words, plugins=plugins) as server:
        model = Model.find(server.url, connection={"retries": 12, "concurrency": 3})
        shown = [model.tensors(puppets.picture, "it")]
        expected = model.network.run(OUTPUTS, shown[0])
        many, answered, lock = 60, [], threading.Lock()
        killed = threading.Event()

        def ask(number):
            # It asks again while the server is away, as `kind: remote` does.
            answer = model.network.run(OUTPUTS, shown[0])
            with lock:
                answered.append(number)
                if len(answered) == 20:
                    server.process.send_signal(signal.SIGKILL)
                    killed.set()
            return answer

        found = []
        work = threading.Thread(
            target=lambda: found.append(closed(ask, clients=3, seconds=0, most=many, keep=True))
        )
        work.start()
        assert killed.wait(60)
        server.process.wait()
        before = len(answered)
        with serving(*words, plugins=plugins):
            work.join()
        [load] = found
        assert before < many
        assert not load.refused
        assert not load.failed
        assert sorted(load.answers) == [*range(many)]
        assert all(same(answer, expected) for answer in load.answers.values())
