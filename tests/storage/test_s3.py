"""S3: a real store where there is one, and a server that fails as a real store seldom does."""

import base64
import io
import os
import threading
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from quorate import storage
from quorate.errors import AccessError, InputError, StorageError
from quorate.storage import (
    exists,
    join,
    open_file,
    open_tree,
    read_bytes,
    remove_tree,
    s3,
    write_bytes,
)
from quorate.storage.checksums import fits

NAMES = ["a-1.txt", "a/10.txt", "a/2.txt", "ü b/ö.txt"]


@pytest.fixture
def fresh_client():
    """The client is one for the whole process, save in tests that change the environment."""
    s3.client.cache_clear()
    yield
    s3.client.cache_clear()


@pytest.mark.s3
def test_s3_is_a_tree_like_any_other(s3_prefix):
    for name in NAMES:
        write_bytes(join(s3_prefix, name), name.encode())
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("in/a.txt", "hello")
    write_bytes(join(s3_prefix, "x.zip"), made.getvalue())
    with open_tree(s3_prefix) as tree:
        assert tree.remote
        assert list(tree.names()) == [*NAMES[:3], "x.zip", NAMES[3]]
        assert tree.read("a/10.txt") == b"a/10.txt"
        with tree.open("a/2.txt") as file:
            assert file.read(1) == b"a"
            file.seek(2)
            assert file.read() == b"2.txt"
        assert not tree.exists("missing")
        with pytest.raises(InputError, match="no such file"):
            tree.read("missing")
        with pytest.raises(InputError, match="no such file"):
            tree.open("missing")
    with open_tree(f"{s3_prefix}/x.zip/in") as tree:
        assert tree.read("a.txt") == b"hello"
    assert exists(join(s3_prefix, "x.zip"))
    remove_tree(s3_prefix)
    assert not exists(join(s3_prefix, "x.zip"))
    with pytest.raises(InputError, match="no such bucket"):
        read_bytes(f"s3://{os.environ['S3_BUCKET']}-missing/x")


@pytest.mark.s3
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3500])
def test_an_object_is_read_in_ranges(s3_prefix, size, monkeypatch):
    monkeypatch.setattr(s3, "HEADER", 1000)
    data = bytes(i * 7 % 251 for i in range(size))
    write_bytes(join(s3_prefix, "x"), data)
    with open_tree(s3_prefix) as tree, tree.open("x") as file:
        assert file.read() == data
        file.seek(0)
        assert b"".join(iter(lambda: file.read(700), b"")) == data
        file.seek(-min(size, 10), os.SEEK_END)
        assert file.read() == data[-10:]
        file.seek(size // 2)
        assert file.read(5) == data[size // 2 :][:5]
        file.seek(size + 5)
        assert file.read() == b""
    assert read_bytes(join(s3_prefix, "x")) == data


@pytest.mark.s3
def test_wrong_keys_are_told_with_a_remedy(s3_prefix, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        s3.client.cache_clear()
        with pytest.raises(AccessError, match="S3 refused access") as caught:
            read_bytes(join(s3_prefix, "x"))
        assert "AWS_SECRET_ACCESS_KEY" in str(caught.value.hint)
        with pytest.raises(AccessError, match="S3 refused access"):
            exists(join(s3_prefix, "x"))
    s3.client.cache_clear()  # for the clearing away


class Store(BaseHTTPRequestHandler):
    """Answers every request as its server's `answers` say, in turn, the last one ever after."""

    def do_GET(self):
        answers = self.server.answers
        status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.server.asked += 1
        self.server.gets += self.command == "GET"
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64  # boto3 asks for many parts at once


@pytest.fixture
def store(monkeypatch, fresh_client):
    server = Server(("127.0.0.1", 0), Store)
    server.asked = server.gets = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_REGION", "here")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "here")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    yield server
    server.shutdown()
    server.server_close()


def refusal(code, status=403):
    body = f"<Error><Code>{code}</Code><Message>It may be so</Message></Error>".encode()
    return status, body, len(body)


@pytest.mark.parametrize(
    ("answer", "said", "hint"),
    [
        (refusal("ExpiredToken", 400), "credentials for S3 have expired", "AWS_SESSION_TOKEN"),
        (refusal("AccessDenied"), "S3 refused access", "this bucket"),
        (refusal("InvalidAccessKeyId"), "S3 refused access", "AWS_ACCESS_KEY_ID"),
        (refusal("RequestTimeTooSkewed"), "S3 refused access", "clock"),
        (refusal("NoSuchKey", 404), "there is no such file", ""),
        (refusal("NoSuchBucket", 404), "there is no such bucket", ""),
    ],
)
def test_a_refusal_is_one_sentence_and_final(store, answer, said, hint):
    store.answers = [answer]
    for look in (read_bytes, lambda place: list(open_tree(place).names())):
        with pytest.raises((AccessError, InputError), match=said) as caught:
            look("s3://pool/x")
        assert caught.value.exit_code == 2
        assert caught.value.message.startswith("s3://pool/x: ")
        assert hint in (caught.value.hint or "")
    assert store.asked <= 4  # a refused HEAD is followed by the GET that says why


def test_forbidden_is_not_taken_for_missing(store):
    store.answers = [(403, b"", 0)]
    with pytest.raises(AccessError, match="refused access"):
        exists("s3://pool/x")
    store.answers = [(404, b"", 0)]
    assert not exists("s3://pool/x")


def test_an_answer_that_breaks_off_is_asked_for_again(store):
    store.answers = [(200, b"hel", 5), (200, b"hell", 5), (200, b"hello", 5)]
    with open_tree("s3://pool/") as tree:
        assert tree.read("x") == b"hello"
    assert store.asked == 3
    store.answers = [(200, b"hel", 5), (200, b"hello", 5)]
    with open_file("s3://pool/x") as file:
        assert file.read() == b"hello"
    store.answers = [(200, b"hel", 5)]
    store.gets = 0
    with pytest.raises(StorageError, match="s3://pool/x"):
        read_bytes("s3://pool/x")
    assert store.gets == 4  # as documented: not s3.TRIES, which would follow a slip
    store.gets = 0
    with open_tree("s3://pool/") as tree, pytest.raises(StorageError, match="s3://pool/x"):
        tree.read("x")
    assert store.gets == 4  # as documented: not s3.TRIES, which would follow a slip


def test_a_store_that_is_down_is_worth_another_try(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3.client.cache_clear()
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9") as caught:
        read_bytes("s3://pool/x")
    assert caught.value.exit_code == 75
    assert "AWS_ENDPOINT_URL" in str(caught.value.hint)


def test_an_environment_that_makes_no_sense(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    s3.client.cache_clear()
    with pytest.raises(InputError, match="nonsense"):
        read_bytes("s3://pool/x")
    with pytest.raises(InputError, match="names no bucket"):
        storage.read_bytes("s3://")


class Bucket(BaseHTTPRequestHandler):
    """One object, `server.data`, whole or by ranges; its first `server.wrong` answers are wrong."""

    def do_GET(self):
        server, data = self.server, self.server.data
        server.asked.append((self.command, self.headers.get("Range", "")))
        if server.replaced and len(server.asked) > 1:
            if "If-Match" in self.headers:
                self.send_response(412)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = data[::-1]
        start, end = 0, len(data)
        if self.headers.get("Range"):
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)) + 1, len(data))
        body = data[start:end]
        if self.command == "GET" and server.wrong:
            server.wrong -= 1
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response(206 if self.headers.get("Range") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("ETag", '"one"')
        for name, value in () if start or end < len(data) else server.checksum.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(store):
    store.RequestHandlerClass = Bucket
    store.data = bytes(i * 7 % 251 for i in range(200_000))
    store.checksum = {"x-amz-checksum-crc32": _crc32(store.data)}
    store.asked, store.wrong, store.replaced = [], 0, False
    return store


def _crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def test_ranges_begin_and_end_where_they_should(bucket):
    with open_tree("s3://pool/") as tree, tree.open("x") as file:
        assert bucket.asked == [("GET", f"bytes=0-{s3.HEADER - 1}")]
        assert file.read(10) == bucket.data[:10]
        assert len(bucket.asked) == 1
        file.seek(150_000)
        assert file.read(7) == bucket.data[150_000:150_007]
        file.seek(0)
        assert file.read() == bucket.data
    starts, ends = zip(
        *(map(int, asked.removeprefix("bytes=").split("-")) for _, asked in bucket.asked),
        strict=True,
    )
    assert all(end - start < s3.HEADER or end == len(bucket.data) - 1
               for start, end in zip(starts, ends, strict=True))  # fmt: skip
    assert max(ends) == len(bucket.data) - 1  # the last byte there is, not one beyond


@pytest.mark.parametrize("size", [200_000, 20 << 20])
def test_wrong_bytes_are_asked_for_again(bucket, size, caplog):
    bucket.data = bytes(size - 1) + b"x"
    bucket.checksum = {"x-amz-checksum-crc32": _crc32(bucket.data)}
    bucket.wrong = 1
    with open_file("s3://pool/x") as file:  # 20 MB: in parts, which have no checksum of their own
        assert file.read() == bucket.data
    assert bucket.wrong == 0
    assert "asked for again" in caplog.text
    bucket.wrong = 10_000
    with pytest.raises(StorageError, match=r"s3://pool/x.*checksum"):
        open_file("s3://pool/x")


def test_a_picture_with_wrong_bytes_is_asked_for_again(bucket):
    bucket.wrong = 1
    with open_tree("s3://pool/") as tree:
        assert tree.read("x") == bucket.data
    assert len(bucket.asked) == 2


def test_the_checksum_of_an_upload_in_parts(bucket):
    sizes = [80_000, 80_000, 40_000]
    sums = [base64.b64decode(_crc32(bucket.data[80_000 * i :][:80_000])) for i in range(3)]
    about = {"ContentLength": 200_000, "ChecksumCRC32": f"{_crc32(b''.join(sums))}-3"}
    assert fits(io.BytesIO(bucket.data), about, lambda: sizes[0])
    assert not fits(io.BytesIO(bucket.data[::-1]), about, lambda: sizes[0])
    assert not fits(io.BytesIO(bucket.data[:-1]), about, lambda: sizes[0])


def test_an_object_that_is_replaced_while_it_is_read(bucket):
    bucket.replaced = True
    with (
        open_tree("s3://pool/") as tree,
        tree.open("x") as file,
        pytest.raises(StorageError, match="was replaced"),
    ):
        file.read()


def test_a_store_that_hangs_says_so_and_ends(store, monkeypatch, caplog):
    monkeypatch.setattr(s3, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(s3, "TELL_SECONDS", 0)
    hung = threading.Event()

    class Hangs(Store):
        def do_GET(self):
            self.server.asked += 1
            hung.wait(60)

    store.RequestHandlerClass = Hangs
    try:
        with pytest.raises(StorageError, match="s3://pool/x"):
            exists("s3://pool/x")
    finally:
        hung.set()
    assert store.asked == 5
    assert "S3 does not answer" in caplog.text
    assert "5 failed requests in" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_store_that_redirects_for_ever(store, status):
    class Redirects(Store):
        def do_GET(self):
            self.server.asked += 1
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    store.RequestHandlerClass = Redirects
    for look in (read_bytes, exists, lambda place: list(open_tree(place).names())):
        store.asked = 0
        with pytest.raises((InputError, StorageError), match="s3://pool/x"):
            look("s3://pool/x")
        assert store.asked <= 4 * s3.REQUESTS
