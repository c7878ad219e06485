"""Clients that no one here wrote, asked from .venv-remote: clients.py CLIENT URL PICTURES…

Prints as JSON what each said of the server, of the model `parts`, and of the pictures: the outputs
of the ensemble, with the boxes of `yolo` beside.
"""

import asyncio
import contextlib
import json
import queue
import sys
from pathlib import Path

import numpy as np

NAMES = ["boxes", "scores", "categories", "labels", "votes", "counts", "voters", "yolo.boxes"]


def plain(array):
    values = array.tolist()
    return [one.decode() if isinstance(one, bytes) else one for one in values]


def triton(module, url, files):
    client = module.InferenceServerClient(url)
    about = {"as_json": True} if "grpc" in module.__name__ else {}
    pictures = module.InferInput("image", [len(files)], "BYTES")
    pictures.set_data_from_numpy(np.array(files, dtype=object))
    wanted = [module.InferRequestedOutput(name) for name in NAMES]
    answer = client.infer("parts", [pictures], outputs=wanted, request_id="mine")
    refused = []
    for call in (
        lambda: client.register_system_shared_memory("a", "/a", 64),
        lambda: client.get_cuda_shared_memory_status(),
        lambda: client.get_model_metadata("nobody"),
        lambda: client.is_model_ready("nobody") or 1 / 0,
    ):
        try:
            call()
        except Exception as error:
            refused.append(str(error))
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready("parts"),
        "server": client.get_server_metadata(**about),
        "model": client.get_model_metadata("parts", **about),
        "index": client.get_model_repository_index(**about),
        "outputs": {name: plain(answer.as_numpy(name)) for name in NAMES},
        "answer": json.loads(json.dumps(answer.get_response(**about))),
        "refused": refused,
    }


def triton_http(url, files):
    import tritonclient.http

    return triton(tritonclient.http, url.removeprefix("http://"), files)


def triton_grpc(url, files):
    import tritonclient.grpc

    return triton(tritonclient.grpc, url.removeprefix("grpc://"), files)


async def asked_at_once(module, url, files):
    """Each picture in a request of its own, all at the same time."""
    async with module.InferenceServerClient(url) as client:

        async def one(file):
            picture = module.InferInput("image", [1], "BYTES")
            picture.set_data_from_numpy(np.array([file], dtype=object))
            wanted = [module.InferRequestedOutput(name) for name in NAMES]
            return await client.infer("parts", [picture], outputs=wanted)

        answers = await asyncio.gather(*map(one, files))
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model ready": await client.is_model_ready("parts"),
            "outputs": {
                name: plain(np.concatenate([answer.as_numpy(name) for answer in answers]))
                for name in NAMES
            },
        }


def triton_http_async(url, files):
    import tritonclient.http.aio

    return asyncio.run(asked_at_once(tritonclient.http.aio, url.removeprefix("http://"), files))


def triton_grpc_async(url, files):
    import tritonclient.grpc.aio

    return asyncio.run(asked_at_once(tritonclient.grpc.aio, url.removeprefix("grpc://"), files))


def triton_stream(url, files):
    """What is said to who wants a stream, and to Triton's other calls."""
    import tritonclient.grpc as module

    said = []
    client = module.InferenceServerClient(url.removeprefix("grpc://"))
    picture = module.InferInput("image", [1], "BYTES")
    picture.set_data_from_numpy(np.array(files[:1], dtype=object))
    told = queue.Queue()
    client.start_stream(lambda result, error: told.put(error or result))
    with contextlib.suppress(module.InferenceServerException):  # it was refused before it is used
        client.async_stream_infer("parts", [picture])
    said.append(str(told.get(timeout=60)))
    client.stop_stream()
    for call in (
        lambda: client.get_model_config("parts"),
        lambda: client.get_inference_statistics("parts"),
        lambda: client.get_trace_settings(),
        lambda: client.get_log_settings(),
    ):
        try:
            said.append(str(call()))
        except module.InferenceServerException as error:
            said.append(str(error))
    return {"said": said, "live": client.is_server_live()}


def kserve_http(url, files):
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    given = InferInput("image", [len(files)], "BYTES")
    given.set_data_from_numpy(np.array(files, dtype=object), binary_data=True)
    request = InferRequest(
        model_name="parts",
        infer_inputs=[given],
        request_outputs=[RequestedOutput(name, {"binary_data": True}) for name in NAMES],
    )

    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        answer = await client.infer(url, request, model_name="parts")
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model ready": await client.is_model_ready(url, "parts"),
            "outputs": {one.name: plain(one.as_numpy()) for one in answer.outputs},
        }

    return asyncio.run(ask())


def kserve_grpc(url, files):
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    given = InferInput("image", [len(files)], "BYTES")
    given.set_data_from_numpy(np.array(files, dtype=object), binary_data=True)
    request = InferRequest(model_name="parts", infer_inputs=[given])

    async def ask():
        client = InferenceGRPCClient(url.removeprefix("grpc://"))
        answer = await client.infer(request)
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model ready": await client.is_model_ready("parts"),
            "outputs": {one.name: plain(one.as_numpy()) for one in answer.outputs},
        }

    return asyncio.run(ask())


if __name__ == "__main__":
    client, url, *pictures = sys.argv[1:]
    found = globals()[client](url, [Path(picture).read_bytes() for picture in pictures])
    print(json.dumps(found, default=str))
