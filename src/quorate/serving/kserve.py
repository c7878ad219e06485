"""An ensemble as objects of KServe: a service for each member, one that decides, and the graph.

    InferenceService ENSEMBLE-MEMBER   the member's file, on the cluster's runtime for ONNX
    ConfigMap, InferenceService ENSEMBLE   `quorate serve`: pictures to tensors, the members asked
                                       at once, their answers fused
    InferenceGraph ENSEMBLE-graph      the one door: it leads to the service that decides

A graph's Ensemble node puts the answers of its steps side by side and cannot vote, so the fusion
is a container: what KServe calls a transformer. Source: github.com/kserve/kserve, cmd/router and
pkg/apis/serving.
"""

from __future__ import annotations

from typing import Any

import yaml

from quorate._version import __version__
from quorate.classifiers.onnx import OnnxClassifier
from quorate.detectors.onnx.spec import OnnxDetector, OnnxFile
from quorate.ensemble import ClassificationEnsemble, DetectionEnsemble
from quorate.errors import SpecError
from quorate.labels import VOCABULARIES
from quorate.spec.base import plain
from quorate.storage import is_s3

LONGEST = 63
"""Characters of a name."""
_PORT = 8080


def manifests(
    ensemble: DetectionEnsemble | ClassificationEnsemble,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The objects, and what the graph does not do by itself, told.

    Raises:
        SpecError: a member that KServe cannot serve, or weights that are on this machine.
        DetectorError: weights that are no model.
    """
    made, members, notes = [], [], []
    for member in ensemble.members:
        if member.kind == "remote":
            members.append(plain(member))
            notes.append(f"'{member.name}' is on a server already, and is asked there.")
            continue
        if not isinstance(member, OnnxDetector | OnnxClassifier):
            raise SpecError(
                f"'{member.name}' is of `kind: {member.kind}`; KServe serves files of `onnx`, and "
                "asks `remote` models.",
                hint="export its model to ONNX",
            )
        if not is_s3(member.weights):
            raise SpecError(
                f"'{member.name}': its weights, {member.weights}, are on this machine; KServe "
                "takes them from s3://…",
            )
        service = _service_of(ensemble.name, member.name)
        made.append(_model(service, ensemble.name, member.weights))
        members.append(_remote(member, service))
    spec = plain(ensemble)
    spec[ensemble.members_field] = members
    for field in ("data", "workflow", "notify"):
        spec.pop(field, None)
    if ensemble.data is not None and not ensemble.labels:
        with ensemble.load() as loaded:
            spec["labels"] = [*loaded.labels.names]
        notes.append("The labels are those of the data set, numbered anew from 1.")
    made += [_specs(ensemble.name, spec), _decides(ensemble.name), _graph(ensemble.name)]
    notes += [
        f"KServe's graphs cannot vote: an Ensemble node puts answers side by side. So the service "
        f"'{ensemble.name}' decides, a container of quorate's that asks the members itself, at "
        f"once; the graph '{ensemble.name}-graph' leads to it.",
        "The runtime for ONNX is the cluster's choice; it has to speak the Open Inference "
        "Protocol, as Triton and OpenVINO Model Server do.",
        "Addresses are those of KServe's Standard mode (RawDeployment), all in one namespace.",
    ]
    return made, notes


def to_yaml(made: list[dict[str, Any]]) -> str:
    """The objects as a file for kubectl."""
    return "---\n".join(yaml.safe_dump(one, sort_keys=False, allow_unicode=True) for one in made)


def _service_of(ensemble: str, member: str) -> str:
    name = f"{ensemble}-{member}".replace("_", "-").replace(".", "-").lower()
    if len(f"{name}-predictor") > LONGEST:
        raise SpecError(
            f"'{member}': the service would be called '{name}', which is too long for KServe.",
            hint="shorten the name of the ensemble or of its member",
        )
    return name


def _metadata(name: str, ensemble: str) -> dict[str, Any]:
    return {
        "name": name,
        "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"},
        "labels": {
            "app.kubernetes.io/part-of": "quorate",
            "app.kubernetes.io/version": __version__,
            "quorate/ensemble": ensemble,
        },
    }


def _model(service: str, ensemble: str, weights: str) -> dict[str, Any]:
    """The service of a file."""
    model = {
        "modelFormat": {"name": "onnx"},
        "protocolVersion": "v2",
        "storageUri": weights,
    }
    return _service(service, ensemble, {"model": model})


def _service(name: str, ensemble: str, predictor: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _metadata(name, ensemble),
        "spec": {"predictor": predictor},
    }


def _remote(member: OnnxDetector | OnnxClassifier, service: str) -> dict[str, Any]:
    """The member as its service is asked; what its file alone tells is said."""
    said: dict[str, Any] = plain(member)
    for field in OnnxFile.model_fields:
        said.pop(field, None)
    if not member.names or (isinstance(member.names, str) and member.names not in VOCABULARIES):
        said["names"] = [*member.load().labels]
    return said | {"kind": "remote", "url": f"http://{service}-predictor", "model": service}


def _specs(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(name, name),
        "data": {"spec.yaml": text},
    }


def _decides(name: str) -> dict[str, Any]:
    """The service that asks the members and fuses what they say."""
    health = {"port": _PORT, "scheme": "HTTP"}
    container = {
        "name": "kserve-container",
        "image": f"quorate-cpu:{__version__}",
        "command": ["quorate", "serve", "/etc/quorate/spec.yaml"],
        "args": ["--host=0.0.0.0", f"--port={_PORT}"],
        "ports": [{"name": "http1", "containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", **health}},
        "livenessProbe": {"httpGet": {"path": "/v2/health/live", **health}},
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi"},
            "limits": {"cpu": "2", "memory": "2Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "spec", "mountPath": "/etc/quorate", "readOnly": True},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "spec", "configMap": {"name": name}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }
    return _service(name, name, pod)


def _graph(name: str) -> dict[str, Any]:
    # An address rather than a service's name: the router asks a path as it stands.
    url = f"http://{name}-predictor/v2/models/{name}/infer"
    step = {"name": "decide", "serviceUrl": url, "dependency": "Hard"}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": _metadata(f"{name}-graph", name),
        "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": [step]}}},
    }
