"""A namespace as a platform's people keep it: pod security enforced, quotas, the chart."""

from __future__ import annotations

import uuid

from tests.cluster.chart import install
from tests.cluster.conftest import Kubectl

QUOTA = {"requests.cpu": "8", "requests.memory": "20Gi", "limits.cpu": "64",
         "limits.memory": "64Gi", "pods": "30"}  # fmt: skip


class Own(Kubectl):
    """kubectl in a namespace of its own, which is not the context's."""

    def __init__(self, prefix):
        super().__init__(f"{prefix}-{uuid.uuid4().hex[:6]}")

    def __call__(self, *arguments, given=None, check=True):
        return super().__call__(
            f"--namespace={self.namespace}", *arguments, given=given, check=check
        )

    def make(self):
        self("create", "namespace", self.namespace)

    def remove(self):
        # A namespace that ends admits no pods, so nothing would clean up after its workflows.
        self("delete", "workflows", "--all", "--wait", "--timeout=120s")
        self("delete", "namespace", self.namespace, "--wait=false")


class Strict(Own):
    """A namespace that enforces "restricted" and has a quota, and the chart in it."""

    def __init__(self, image, bucket):
        super().__init__("strict")
        self.image, self.bucket = image, bucket

    def make(self):
        super().make()
        self("label", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=restricted")
        self.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"},
                    "spec": {"hard": QUOTA}})  # fmt: skip
        person = {"kind": "ServiceAccount", "name": "person", "namespace": self.namespace}
        own = {"artifactRepository": {"create": True}, "users": [person]}
        install(self.namespace, self.image, self.bucket, **own)

    def as_person(self, folder):
        """A kubeconfig of somebody who may start runs, and nothing else."""
        self("create", "serviceaccount", "person")
        return self.config_of("person", folder)
