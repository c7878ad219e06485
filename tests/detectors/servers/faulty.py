"""A model server of our own that misbehaves as it is told, over HTTP and over gRPC.

Its one model, `mean`, gives a box whose score is the mean of its input (1, 3, 8, 8).
"""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np

from quorate.open_inference.messages import MESSAGES, SERVICE
from tests.waiting import PATIENCE

INPUT = {"name": "images", "datatype": "FP32", "shape": [-1, 3, 8, 8]}
OUTPUT = {"name": "output0", "datatype": "FP32", "shape": [-1, 1, 6]}
LENGTH = "Inference-Header-Content-Length"


def rows(pictures):
    """float32 (n, 1, 6) for (n, 3, 8, 8)."""
    score = pictures.mean(axis=(1, 2, 3))
    return np.stack([np.array([[1, 2, 5, 6, s, 0]], np.float32) for s in score])


@dataclass
class Told:
    """What the server does next, and what it saw.

    next     one of these for each request for boxes, then it behaves: a function of the handler
             (HTTP) or of the context (gRPC), which answers or raises
    always   such a function for every request for boxes
    together how many requests for boxes there must be at once before the first is answered
    ended    set when the test is over, for functions that answer never
    """

    next: list = field(default_factory=list)
    always: object = None
    metadata: dict = field(default_factory=lambda: {"inputs": [INPUT], "outputs": [OUTPUT]})
    extensions: list = field(default_factory=list)
    ready: bool = True
    delay: float = 0.0
    together: int = 1
    index: list = field(default_factory=lambda: ["mean", "median"])
    seen: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    lock: threading.Condition = field(default_factory=threading.Condition)
    ended: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def requests(self):
        """How many requests for boxes there were."""
        return len(self.seen)

    def trick(self):
        with self.lock:
            return self.next.pop(0) if self.next else self.always

    @contextlib.contextmanager
    def counted(self):
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.lock.notify_all()
            assert self.lock.wait_for(lambda: self.most >= self.together, PATIENCE)
        try:
            time.sleep(self.delay)
            yield
        finally:
            with self.lock:
                self.under_way -= 1


# HTTP


def status(code, body=b"", **headers):
    def trick(handler):
        handler.answer(code, body, {k.replace("_", "-"): v for k, v in headers.items()})

    return trick


def never(told):
    """Answers when the test is over, so never."""
    return lambda _: told.ended.wait(PATIENCE)


def cut(handler):
    """Promises more than it sends, then hangs up."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"outputs": [')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def trickle(from_start):
    """Sends a byte every 50 ms while anybody listens: of its headers, or of its body."""

    def trick(handler):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        handler.close_connection = True
        handler.wfile.write(b"" if from_start else head + b"\r\n")
        for byte in (head if from_start else b"") + b"X-Word: " + b" " * 100_000:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)

    return trick


def packed(data, encoding="gzip"):
    """An answer that is packed though nobody asked for it."""
    return status(200, data, Content_Encoding=encoding)


def round_and_round(handler):
    """Sends whoever comes back to where they were."""
    handler.answer(307, b"", {"Location": handler.path})


def said(**output):
    """A well-formed answer with this one tensor."""
    tensor = {"name": "output0", "datatype": "FP32", "shape": [1, 1, 6], **output}
    return status(200, json.dumps({"outputs": [tensor]}).encode())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body=b"", headers=()):
        self.send_response(code)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        told = self.server.told
        told.headers.append(dict(self.headers))
        pages = {
            "/v2": {"name": "faulty", "version": "1", "extensions": told.extensions},
            "/v2/models/mean": told.metadata,
            "/v2/models/mean/versions/3": told.metadata,
        }
        if self.path in pages:
            self.answer(200, json.dumps(pages[self.path]).encode())
        elif self.path.endswith("/ready"):
            self.answer(200 if told.ready else 503, b"{}")
        else:
            self.answer(404, b'{"error": "unknown model"}')

    def do_POST(self):
        told = self.server.told
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told.headers.append(dict(self.headers))
        if self.path == "/v2/repository/index":
            self.answer(200, json.dumps([{"name": name} for name in told.index]).encode())
            return
        told.seen.append((self.path, self.headers.get("Content-Type"), len(body)))
        with told.counted():
            if trick := told.trick():
                trick(self)
            else:
                self.well(body)

    def well(self, body):
        start = int(self.headers.get(LENGTH, len(body)))
        request = json.loads(body[:start])
        [given] = request["inputs"]
        if size := given.get("parameters", {}).get("binary_data_size"):
            values = np.frombuffer(body[start : start + size], np.float32)
        else:
            values = np.array(given["data"], np.float32)
        found = rows(values.reshape(given["shape"]))
        tensor = {"name": "output0", "datatype": "FP32", "shape": found.shape}
        if not request["outputs"][0].get("parameters", {}).get("binary_data"):
            answer = {"outputs": [{**tensor, "data": found.tolist()}]}  # nested, as some do
            self.answer(200, json.dumps(answer).encode())
            return
        tensor["parameters"] = {"binary_data_size": found.nbytes}
        head = json.dumps({"outputs": [tensor]}).encode()
        self.answer(200, head + found.tobytes(), {LENGTH: str(len(head))})


@contextlib.contextmanager
def http_server(tls=None):
    """A `Told` whose `url` answers; `tls` is a context of the server's side."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that hang up are part of the test
    server.told = Told()
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.told.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.told
    finally:
        server.told.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


# gRPC


def code(name, details="", **trailing):
    def trick(context):
        context.set_trailing_metadata([(k.replace("_", "-"), v) for k, v in trailing.items()])
        context.abort(grpc.StatusCode[name], details)

    return trick


class Service(grpc.GenericRpcHandler):
    def __init__(self, told):
        self.told = told

    def service(self, call):
        name = call.method.removeprefix(f"/{SERVICE}/")
        return grpc.unary_unary_rpc_method_handler(
            getattr(self, name),
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )

    def ModelMetadata(self, request, context):  # noqa: N802  the protocol's names
        self.told.headers.append(dict(context.invocation_metadata()))
        if request.name != "mean":
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
        return MESSAGES["ModelMetadataResponse"](**self.told.metadata)

    def ModelReady(self, request, context):  # noqa: N802
        return MESSAGES["ModelReadyResponse"](ready=self.told.ready)

    def RepositoryIndex(self, request, context):  # noqa: N802
        return MESSAGES["RepositoryIndexResponse"](models=[{"name": n} for n in self.told.index])

    def ModelInfer(self, request, context):  # noqa: N802
        self.told.seen.append(request)
        with self.told.counted():
            if (trick := self.told.trick()) and (answer := trick(context)) is not None:
                return answer
            [given] = request.inputs
            values = np.frombuffer(request.raw_input_contents[0], np.float32)
            found = rows(values.reshape(given.shape))
            about = {"name": "output0", "datatype": "FP32", "shape": found.shape}
            contents = {"fp32_contents": found.ravel().tolist()}  # not raw, as servers may
            return MESSAGES["ModelInferResponse"](outputs=[{**about, "contents": contents}])


@contextlib.contextmanager
def rpc_server(tls=None, compression=None):
    """Likewise over gRPC; `tls` is (key, certificate) in PEM."""
    told = Told()
    server = grpc.server(
        ThreadPoolExecutor(8),
        handlers=[Service(told)],
        compression=compression,
        options=[("grpc.max_send_message_length", -1)],
    )
    if tls:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    told.url = f"grpc{'s' if tls else ''}://127.0.0.1:{port}"
    server.start()
    try:
        yield told
    finally:
        told.ended.set()
        server.stop(None).wait()
