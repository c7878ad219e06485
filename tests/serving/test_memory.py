"""What requests hold: none of it is left when they are answered, and little of it before."""

from __future__ import annotations

import asyncio
import gc
import types
from contextlib import asynccontextmanager

import grpc
import pytest
import yaml

from quorate.open_inference.messages import MESSAGES, SERVICE
from quorate.open_inference.tensors import packed
from quorate.serving import rpc
from quorate.serving.access import Access
from quorate.serving.plane import Plane
from quorate.serving.repository import Repository
from quorate.serving.served import EnsembleSource
from quorate.serving.values import Limits
from tests.classifiers.models import colours
from tests.spots import draw


@asynccontextmanager
async def served(*sources, **limits):
    """A channel to a gRPC server in this process, with the ensembles loaded."""
    limits = Limits(**limits)
    plane = Plane(Repository(sources, limits), limits)
    await plane.repository.load_all()
    server, port = await rpc.start(plane, Access(), host="127.0.0.1", port=0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)
        await plane.repository.close()


@pytest.fixture
def ensemble(tmp_path):
    colours(tmp_path / "one.onnx")
    member = {"name": "one", "kind": "onnx", "weights": "one.onnx", "scale": 1 / 255}
    spec = {"kind": "ClassificationEnsemble", "name": "colour", "classifiers": [member]}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    return EnsembleSource.of(tmp_path / "spec.yaml")


def infer(name: str, *files: bytes) -> bytes:
    given = {"name": "image", "datatype": "BYTES", "shape": [1]}
    request = MESSAGES["ModelInferRequest"](
        model_name=name, inputs=[given], raw_input_contents=[packed(files)]
    )
    return request.SerializeToString()


@pytest.mark.parametrize("what", ["is answered", "is cut short", "is too many", "has no model"])
def test_nothing_of_a_request_is_left_once_it_is_over(ensemble, tmp_path, what):
    draw(tmp_path / "0.png", 3)
    file = (tmp_path / "0.png").read_bytes()
    request = {
        "is answered": infer("colour", file),
        "is cut short": infer("colour", file[: len(file) // 2]),
        "is too many": infer("colour", file, file),
        "has no model": infer("nobody", file),
    }[what]

    async def ask() -> list[object]:
        async with served(ensemble) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            for time in range(4):  # grpcio holds what the last one was until another comes
                if time == 1:
                    gc.collect()
                    gc.set_debug(gc.DEBUG_SAVEALL)
                try:
                    await call(request)
                    assert what == "is answered"
                except grpc.RpcError:
                    assert what != "is answered"
            await asyncio.sleep(0.1)
            gc.collect()
            return [*gc.garbage]

    gc.disable()
    try:
        found = asyncio.run(ask())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    frames = [one.f_code for one in found if isinstance(one, types.FrameType)]
    assert [one.co_qualname for one in frames if "quorate" in one.co_filename] == []


def test_a_call_whose_request_does_not_arrive_makes_room_again(monkeypatch):
    monkeypatch.setattr(rpc, "ARRIVAL", 0.5)

    async def ask() -> None:
        async with served(memory=1 << 20, request_bytes=1 << 20) as channel:
            infer = f"/{SERVICE}/ModelInfer"
            stalled = [channel.stream_unary(infer)() for _ in range(2)]
            await asyncio.gather(*(one.wait_for_connection() for one in stalled))
            live = await channel.unary_unary(f"/{SERVICE}/ServerLive")(b"")
            assert MESSAGES["ServerLiveResponse"].FromString(live).live
            for one in stalled:
                with pytest.raises(grpc.RpcError) as caught:
                    await one
                assert "did not arrive within 0.5 s" in caught.value.details()
                assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            with pytest.raises(grpc.RpcError) as caught:
                await channel.unary_unary(infer)(b"")
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    asyncio.run(ask())
