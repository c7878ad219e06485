"""Files that change: noticed whenever that happens, and loaded as they are then."""

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import asynccontextmanager

import pytest
import yaml

from quorate.serving import repository
from quorate.serving.ovms.served import ConfigurationSource
from quorate.serving.repository import Repository
from quorate.serving.served import EnsembleSource
from quorate.serving.values import Limits
from tests.classifiers.models import COLOURS, colours
from tests.detectors.servers.real import free_ports
from tests.serving.puppets import DETECTORS
from tests.waiting import PATIENCE


@asynccontextmanager
async def watched(*sources):
    """What is served in this process, and watched."""
    found = Repository(sources, Limits())
    watching = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        watching.cancel()
        await found.close()


async def becomes(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


def members(repository):
    [servable] = repository.loaded()
    return [name.partition(".")[2] for name in servable.models][1:]


@pytest.fixture
def source(puppets, plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setattr(repository, "LOOK_AGAIN", 0.1)
    return EnsembleSource.of(puppets.write())


def test_a_spec_that_changes_before_it_is_loaded_is_loaded_as_it_is(puppets, source):
    async def go():
        async with watched(source) as found:
            puppets.write(DETECTORS[:2])
            await found.load_all()
            assert members(found) == ["a", "b"]

    asyncio.run(go())


def test_a_spec_that_changes_while_it_is_loaded_is_loaded_again(puppets, source, monkeypatch):
    own = EnsembleSource.load

    def load(self, limits):
        puppets.write(DETECTORS[: len(self.ensemble.detectors) - 1] or DETECTORS[:1])
        return own(self, limits)

    monkeypatch.setattr(EnsembleSource, "load", load)

    async def go():
        async with watched(source) as found:
            await found.load_all()
            await becomes(lambda: members(found) == ["a"])

    asyncio.run(go())


def test_weights_that_are_written_in_place_in_their_folder_are_noticed(puppets, source):
    folder = puppets.folder / "weights" / "inner"
    folder.mkdir(parents=True)
    file = folder / "model.bin"
    file.write_text("one")
    detector = {"name": "a", "kind": "counted", "weights": str(folder.parent)}
    detector["switch"] = str(puppets.folder / "a")
    spec = {"name": "spots", "labels": ["red", "green"], "detectors": [detector]}
    puppets.spec.write_text(yaml.safe_dump(spec))

    async def go():
        async with watched(EnsembleSource.of(puppets.spec)) as found:
            await found.load_all()
            [first] = found.loaded()
            with file.open("r+") as opened:  # its folder's time stays as it was
                opened.write("two more")
            await becomes(lambda: found.loaded() != [first])

    asyncio.run(go())


@pytest.fixture
def colour(tmp_path, monkeypatch):
    """What writes a spec of classifiers, of which `one` is there."""
    monkeypatch.setattr(repository, "LOOK_AGAIN", 0.1)
    colours(tmp_path / "one.onnx")

    def write(*names):
        members = [
            {"name": name, "kind": "onnx", "weights": f"{name}.onnx", "scale": 1 / 255}
            for name in names
        ]
        spec = {"kind": "ClassificationEnsemble", "name": "colour", "classifiers": members}
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        return EnsembleSource.of(tmp_path / "spec.yaml")

    return write


def test_weights_that_come_after_the_spec_that_names_them_are_found(tmp_path, colour):
    async def go():
        async with watched(colour("one")) as found:
            await found.load_all()
            colour("one", "two")
            await becomes(lambda: found.index()[0]["reason"])
            assert members(found) == ["one"]
            colours(tmp_path / "two.onnx")
            await becomes(lambda: members(found) == ["one", "two"])
            assert found.index()[0]["reason"] == ""

    asyncio.run(go())


def test_a_change_that_waits_for_a_server_is_loaded_when_that_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr(repository, "LOOK_AGAIN", 0.1)
    monkeypatch.setattr(repository, "TRY_AGAIN", 0.5)
    [port, grpc_port] = free_ports(2)
    colours(tmp_path / "one.onnx")
    config = {"model_config_list": [{"config": {"name": "one", "base_path": "one.onnx"}}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    near = {"name": "near", "kind": "onnx", "weights": "one.onnx", "scale": 1 / 255}
    far = {"name": "far", "kind": "remote", "url": f"http://127.0.0.1:{port}", "model": "one"}
    far |= {"retries": 0, "names": [*COLOURS], "scale": 1 / 255}

    def write(*members):
        spec = {"kind": "ClassificationEnsemble", "name": "colour", "classifiers": [*members]}
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        return EnsembleSource.of(tmp_path / "spec.yaml")

    async def go():
        async with watched(write(near)) as found:
            await found.load_all()
            write(near, far)
            await becomes(lambda: found.index()[0]["reason"])
            command = [sys.executable, "-m", "quorate", "serve", str(tmp_path / "config.json")]
            ports = ["--port", str(port), "--grpc-port", str(grpc_port)]
            with subprocess.Popen([*command, *ports, "-q"]) as server:
                try:
                    await becomes(lambda: members(found) == ["near", "far"])
                finally:
                    server.terminate()

    asyncio.run(go())


def test_what_is_unloaded_while_it_is_read_anew_stays_so(puppets, source, monkeypatch):
    reading, go_on = threading.Event(), threading.Event()

    async def go():
        async with watched(source) as found:
            await found.load_all()
            [entry] = found.entries.values()
            own = EnsembleSource.anew

            def anew(self):
                reading.set()
                go_on.wait(PATIENCE)
                return own(self)

            monkeypatch.setattr(EnsembleSource, "anew", anew)
            puppets.write(DETECTORS[:2])
            await becomes(reading.is_set)
            unloading = asyncio.create_task(found.unload("spots"))
            await asyncio.sleep(0)
            go_on.set()
            await unloading
            await asyncio.sleep(0.5)
            assert entry.current is None
            assert entry.state == "UNAVAILABLE"

    asyncio.run(go())


def test_what_changes_may_not_take_the_name_of_another(tmp_path, colour, caplog):
    def write(name):
        models = [{"config": {"name": name, "base_path": "one.onnx"}}]
        (tmp_path / "config.json").write_text(json.dumps({"model_config_list": models}))
        return ConfigurationSource.of(tmp_path / "config.json")

    async def go():
        async with watched(colour("one"), write("alone")) as found:
            await found.load_all()
            write("colour.one")
            await becomes(lambda: found.index()[-1]["reason"])
            assert found.loaded()[1].models.keys() == {"alone"}

    asyncio.run(go())
    assert "'colour.one' is a model of 'colour' already" in caplog.text
