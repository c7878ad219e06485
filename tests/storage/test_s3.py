"""S3: a real store where there is one, and a server that fails as a real store seldom does."""

import io
import os
import threading
import zipfile
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
def test_an_object_is_read_in_blocks(s3_prefix, size):
    data = bytes(i * 7 % 251 for i in range(size))
    write_bytes(join(s3_prefix, "x"), data)
    with s3.open_object(join(s3_prefix, "x"), block=1000) as file:
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


@pytest.fixture
def store(monkeypatch, fresh_client):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    server.asked = 0
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
    assert store.asked == 2


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
    store.asked = 0
    with pytest.raises(StorageError, match="s3://pool/x"):
        read_bytes("s3://pool/x")
    assert store.asked == s3.TRIES


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
