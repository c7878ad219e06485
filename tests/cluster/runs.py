"""What the tests do to a cluster: put pictures and weights in S3, submit, wait, look."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import boto3
import yaml

PARTS = Path(__file__).parents[2] / "docs" / "examples" / "parts"
ENDED = ("Succeeded", "Failed", "Error")


class Bucket:
    """One bucket of the S3 store."""

    def __init__(self, name):
        self.name = name
        self._s3 = boto3.client("s3")

    def put(self, key, data):
        self._s3.put_object(Bucket=self.name, Key=key, Body=data)

    def put_folder(self, folder, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def keys(self, prefix):
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def get(self, key):
        return self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()

    def folder(self, prefix):
        """The files below a prefix, by name."""
        return {key.removeprefix(prefix): self.get(key) for key in self.keys(prefix)}

    def remove(self, prefix):
        for key in self.keys(prefix):
            self._s3.delete_object(Bucket=self.name, Key=key)


def local_demo():
    """The demo's spec as it runs here, from any folder."""
    spec = yaml.safe_load((PARTS / "spec.yaml").read_text(encoding="utf-8"))
    spec["data"] = str(PARTS / spec["data"])
    for detector in spec["detectors"]:
        detector["weights"] = str(PARTS / detector["weights"])
    return spec


def quorate(*arguments, check=True):
    """The command line, as a user calls it."""
    done = subprocess.run(
        [sys.executable, "-m", "quorate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def files_of(folder):
    """The files below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def annotations(files):
    """Of the files that a run publishes, those whose every byte is settled by spec and data."""
    found = {name: data for name, data in files.items() if name.startswith(("cvat/", "coco/"))}
    assert found, sorted(files)
    return found


class Runs:
    """Ensembles on the cluster: a template each, and the workflows made from it."""

    def __init__(self, kubectl, bucket, image, prefix, folder):
        self.kubectl, self.bucket, self.image = kubectl, bucket, image
        self.prefix, self.folder = prefix, folder
        self.made = []

    def spec(self, name, **changes):
        """The demo's spec as it is written for a cluster, `changes` made to its top level."""
        spec = yaml.safe_load((PARTS / "spec.yaml").read_text(encoding="utf-8"))
        where = f"s3://{self.bucket.name}/{self.prefix}"
        for detector in spec["detectors"]:
            detector["weights"] = f"{where}/{detector['weights']}"
        # The demo is small enough for one pod, and most tests are about several.
        workflow = {"images": {"cpu": self.image}, "bucket": self.bucket.name, "one_pod": 0}
        spec |= {"name": name, "data": f"{where}/images/"}
        spec |= {"workflow": workflow | changes.pop("workflow", {})}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec | changes), encoding="utf-8")
        return path

    def template(self, spec, change=lambda templates: None):
        """Render a spec and make the template known to the cluster; its name.

        `change` may change its templates, given by name, first.
        """
        rendered = quorate("render", spec).stdout
        manifest = yaml.safe_load(rendered)
        change({one["name"]: one for one in manifest["spec"]["templates"]})
        rendered = json.dumps(manifest)
        self.kubectl("apply", "--validate=strict", "--filename=-", given=rendered)
        name = yaml.safe_load(rendered)["metadata"]["name"]
        self.made.append(f"workflowtemplate/{name}")
        return name

    def create(self, template, **parameters):
        """`kubectl create` a workflow of a template; its name."""
        workflow = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"generateName": f"{template}-"},
            "spec": {
                "workflowTemplateRef": {"name": template},
                "arguments": {
                    "parameters": [
                        {"name": name.replace("_", "-"), "value": str(value)}
                        for name, value in parameters.items()
                    ]
                },
            },
        }
        made = self.kubectl(
            "create",
            "--filename=-",
            "--output=jsonpath={.metadata.name}",
            given=json.dumps(workflow),
        )
        self.made.append(f"workflow/{made}")
        return made

    def wait(self, name, *, seconds=420, until=lambda workflow: False):
        """The workflow when it has ended, or when `until` says so."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            workflow = self.kubectl.get("workflow", name)
            if workflow.get("status", {}).get("phase") in ENDED or until(workflow):
                return workflow
            time.sleep(1)
        raise AssertionError(f"{name} has not ended in {seconds} s: {workflow.get('status')}")

    def results(self, name):
        """What the run published, by name."""
        return self.bucket.folder(f"{self.kubectl.namespace}/quorate/{name}/results/")

    def clear(self):
        for what in self.made:
            self.kubectl("delete", what, "--wait=false", "--ignore-not-found")
        self.bucket.remove(self.prefix + "/")


def nodes(workflow, display_name=None, kind="Pod"):
    """The nodes of a workflow, by their place in the tree."""
    return [
        node
        for node in workflow.get("status", {}).get("nodes", {}).values()
        if node["type"] == kind and display_name in (None, node["displayName"].split("(")[0])
    ]


def messages(workflow):
    """What the nodes of a workflow say."""
    found = [node.get("message", "") for node in workflow["status"].get("nodes", {}).values()]
    return "\n".join([workflow["status"].get("message", ""), *found])
