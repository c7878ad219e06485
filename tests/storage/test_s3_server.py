"""The S3 server of the tests refuses what S3 refuses; else tests against it would show little."""

import threading

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests import s3_server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def store():
    """Keywords for a client of a server of its own, whatever store the environment names."""
    process, used = s3_server.start()
    yield {
        "endpoint_url": used["AWS_ENDPOINT_URL"],
        "aws_access_key_id": used["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": used["AWS_SECRET_ACCESS_KEY"],
        "region_name": used["AWS_REGION"],
    }
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def client(store):
    return boto3.client("s3", **store)


def refused(call, **arguments):
    """The code with which a call for the server's bucket is refused."""
    with pytest.raises(ClientError) as caught:
        call(Bucket=s3_server.BUCKET, **arguments)
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "AKIAWRONG"}, "InvalidAccessKeyId"),
    ],
)
def test_a_wrong_key_is_refused(store, wrong, code):
    client = boto3.client("s3", **{**store, **wrong})
    for call, arguments in (
        (client.put_object, {"Key": "x", "Body": b"x"}),
        (client.get_object, {"Key": "x"}),
        (client.list_objects_v2, {}),
        (client.delete_object, {"Key": "x"}),
    ):
        assert refused(call, **arguments) == code
    assert refused(client.head_object, Key="x") == "403"


@pytest.mark.parametrize(
    "said",
    [
        {"ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
        {"ChecksumCRC32": "AAAAAA=="},
        {"ChecksumSHA256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
    ],
)
def test_a_body_that_is_not_what_was_said_is_refused(client, said):
    # Each is the checksum of no bytes at all.
    assert refused(client.put_object, Key="damaged", Body=b"x", **said) == "BadDigest"
    assert refused(client.get_object, Key="damaged") == "NoSuchKey"
    client.put_object(Bucket=s3_server.BUCKET, Key="whole", Body=b"", **said)


def test_a_write_on_a_condition_is_refused_where_it_does_not_hold(client):
    put, bucket = client.put_object, s3_server.BUCKET
    first = put(Bucket=bucket, Key="c", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(put, Key="c", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"
    assert refused(put, Key="c", Body=b"2", IfMatch='"0"') == "PreconditionFailed"
    put(Bucket=bucket, Key="c", Body=b"2", IfMatch=first)
    assert refused(client.get_object, Key="c", IfMatch=first) == "PreconditionFailed"
    assert refused(client.delete_object, Key="c", IfMatch=first) == "PreconditionFailed"


def test_of_many_writers_at_once_one_is_first(store):
    many = 8
    client = boto3.client("s3", **store, config=Config(max_pool_connections=many))
    won, ready = [], threading.Barrier(many)

    def write(number):
        ready.wait()
        try:
            client.put_object(
                Bucket=s3_server.BUCKET, Key="race", Body=b"%d" % number, IfNoneMatch="*"
            )
        except ClientError:
            return
        won.append(b"%d" % number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(many)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert won == [client.get_object(Bucket=s3_server.BUCKET, Key="race")["Body"].read()]


def test_ranges(client):
    client.put_object(Bucket=s3_server.BUCKET, Key="r", Body=b"0123456789")
    answer = client.get_object(Bucket=s3_server.BUCKET, Key="r", Range="bytes=3-5")
    assert (answer["ContentRange"], answer["Body"].read()) == ("bytes 3-5/10", b"345")
    assert refused(client.get_object, Key="r", Range="bytes=10-12") == "InvalidRange"


def test_parts_of_an_upload(client):
    bucket = s3_server.BUCKET
    upload = client.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    where = {"Key": "m", "UploadId": upload}
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(Bucket=bucket, PartNumber=number, Body=b"x" * size, **where)[
                "ETag"
            ],
        }
        for number, size in ((1, 5 << 20), (2, 1))
    ]
    assert refused(client.get_object, Key="m") == "NoSuchKey"
    wrong = [parts[0], {"PartNumber": 2, "ETag": '"0"'}]
    complete = client.complete_multipart_upload
    assert refused(complete, MultipartUpload={"Parts": wrong}, **where) == "InvalidPart"
    done = complete(Bucket=bucket, MultipartUpload={"Parts": parts}, **where)
    assert done["ETag"].endswith('-2"')
    assert client.head_object(Bucket=bucket, Key="m")["ContentLength"] == (5 << 20) + 1


def test_a_listing_has_pages_in_the_order_of_bytes(client):
    keys = ["l/a!", "l/a", "l/a/1", "l/Ä", "l/B", "l/a-1", "l/q?#%&+ x"]
    for key in keys:
        client.put_object(Bucket=s3_server.BUCKET, Key=key, Body=b"")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=s3_server.BUCKET, Prefix="l/", PaginationConfig={"PageSize": 3}
    )
    found = [[one["Key"] for one in page["Contents"]] for page in pages]
    assert [len(page) for page in found] == [3, 3, 1]
    assert [key for page in found for key in page] == sorted(keys, key=str.encode)
