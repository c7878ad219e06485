"""The Helm chart, installed with the store of the environment."""

from __future__ import annotations

import os

from tests.test_chart import helm


def values(image, bucket, **more):
    """The chart's values for an image of the steps and the store that AWS_… names."""
    store = {
        "bucket": bucket,
        "endpoint": os.environ["AWS_ENDPOINT_URL"],
        "region": os.environ.get("AWS_REGION", "us-east-1"),
        "accessKey": os.environ["AWS_ACCESS_KEY_ID"],
        "secretKey": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    return {"images": {"cpu": image}, "s3": store, **more}


def install(namespace, image, bucket, **more):
    """Install the release `quorate`, or upgrade it."""
    given = values(image, bucket, **more)
    helm("upgrade", "--install", f"--namespace={namespace}", "quorate", values=given)
