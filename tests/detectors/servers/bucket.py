"""A folder as a bucket: an S3 server of our own that lists and reads, for weights in S3."""

import contextlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from quorate.storage import s3

BUCKET = "models"


class Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").strip("/")
        if not key:
            self.answer(200, self.listed(parse_qs(parts.query).get("prefix", [""])[0]))
            return
        path = self.server.folder / key
        if not path.is_file():
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
            return
        data = path.read_bytes()
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            end = min(int(last) + 1 if last else len(data), len(data))
            about = {"Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
            self.answer(206, data[int(first) : end], about)
        else:
            self.answer(200, data)

    do_HEAD = do_GET  # noqa: N815  http.server's word

    def listed(self, prefix):
        folder = self.server.folder
        keys = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{(folder / key).stat().st_size}</Size>"
            "</Contents>"
            for key in keys
            if key.startswith(prefix)
        )
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>"
            f"{rows}</ListBucketResult>"
        ).encode()

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def bucket(folder, patch):
    """The URI under which the files of `folder` are to be had while the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    server.folder, server.daemon_threads = folder, True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "here")
    s3.client.cache_clear()
    try:
        yield f"s3://{BUCKET}"
    finally:
        s3.client.cache_clear()
        server.shutdown()
        server.server_close()
        thread.join()
