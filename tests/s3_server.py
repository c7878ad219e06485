"""An S3 server on this machine: moto's, made to refuse what S3 refuses.

`python -m tests.s3_server` prints the variables of the environment by which it is used, and serves
until its standard input is closed, so it ends with the tests that started it, however these end.

moto answers as S3 does to ranges, conditional requests, parts of an upload and pages of a listing.
By itself it takes any key and any checksum: here it takes the one key that it has made, and a body
has to match what its request says of it.
"""

import base64
import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

BUCKET = "quorate-tests"
ALL = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def start() -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """A server in a process of its own with an empty bucket, and the variables that lead there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.s3_server"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    said = process.stdout.readline()
    if not said:
        raise RuntimeError(f"tests.s3_server ended with exit code {process.wait()}")
    return process, json.loads(said)


class Checked:
    """A WSGI application whose requests match their own checksums and are answered in turn.

    In turn, because moto looks whether a condition holds, and then writes.
    """

    def __init__(self, application):
        self.application = application
        self.turn = threading.Lock()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault := self.fault(environ, body):
            code, what = fault
            answer = f"<Error><Code>{code}</Code><Message>Not {what}.</Message></Error>".encode()
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(answer)))]
            start_response("400 Bad Request", headers)
            return [answer]
        environ["wsgi.input"] = io.BytesIO(body)
        with self.turn:
            return self.application(environ, start_response)

    @staticmethod
    def fault(environ, body):
        """S3's error code and the header that is not true of the body, or None."""
        if "aws-chunked" in environ.get("HTTP_CONTENT_ENCODING", ""):
            return None  # the body is in chunks that carry their checksums, which moto reads
        hashed = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
        if len(hashed) == 64 and hashed != hashlib.sha256(body).hexdigest():
            return "XAmzContentSHA256Mismatch", "x-amz-content-sha256"
        for header, digest in (
            ("CONTENT_MD5", lambda: hashlib.md5(body).digest()),
            ("X_AMZ_CHECKSUM_SHA256", lambda: hashlib.sha256(body).digest()),
            ("X_AMZ_CHECKSUM_CRC32", lambda: zlib.crc32(body).to_bytes(4, "big")),
        ):
            said = environ.get(f"HTTP_{header}")
            if said and said != base64.b64encode(digest()).decode():
                return "BadDigest", header.lower().replace("_", "-")
        return None


def serve() -> None:
    """Serve until standard input is closed."""
    # Imported here: moto reads its settings from the environment when it is imported.
    import boto3
    from moto import settings
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = Checked(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    used = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "S3_BUCKET": BUCKET,
    }
    os.environ.update(used)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam")
    iam.create_user(UserName="tests")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ALL]})
    iam.put_user_policy(UserName="tests", PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName="tests")["AccessKey"]
    used["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
    used["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # from here on a request needs the key
    print(json.dumps(used), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith(("AWS_", "MOTO_"))]:
        del os.environ[name]
    serve()
