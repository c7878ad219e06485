"""The protocol's gRPC messages, as classes of protobuf.

Described here in a table rather than generated; see `quorate.protobuf`. What is not named is passed
over when a message is read.

Source: open_inference_grpc.proto, github.com/kserve/open-inference-protocol; RepositoryIndex,
RepositoryModelLoad and RepositoryModelUnload from Triton's model repository extension.
"""

from __future__ import annotations

from quorate.protobuf import classes

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
PUSHBACK = "grpc-retry-pushback-ms"
"""The trailing metadata that say after how many milliseconds another try makes sense."""
_PARAMETERS = (4, "%InferParameter")
_FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "InferParameter": {
        "bool_param": (1, "?bool"),
        "int64_param": (2, "?int64"),
        "string_param": (3, "?string"),
        "double_param": (4, "?double"),
        "uint64_param": (5, "?uint64"),
    },
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {
        "name": (1, "string"),
        "version": (2, "string"),
        "extensions": (3, "*string"),
    },
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "*string"),
        "platform": (3, "string"),
        "inputs": (4, "*TensorMetadata"),
        "outputs": (5, "*TensorMetadata"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
    "InferTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "parameters": _PARAMETERS,
        "contents": (5, "InferTensorContents"),
    },
    "InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "%InferParameter")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": _PARAMETERS,
        "inputs": (5, "*InferTensor"),
        "outputs": (6, "*InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": _PARAMETERS,
        "outputs": (5, "*InferTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "ModelIndex": {
        "name": (1, "string"),
        "version": (2, "string"),
        "state": (3, "string"),
        "reason": (4, "string"),
    },
    "RepositoryIndexResponse": {"models": (1, "*ModelIndex")},
    # The name is field 1 in KServe's definition and field 2 in Triton's, whose first one is the
    # repository's; Triton's answers are empty.
    "RepositoryModelLoadRequest": {"repository_name": (1, "string"), "model_name": (2, "string")},
    "RepositoryModelLoadResponse": {"model_name": (1, "string"), "isLoaded": (2, "bool")},
    "RepositoryModelUnloadRequest": {"repository_name": (1, "string"), "model_name": (2, "string")},
    "RepositoryModelUnloadResponse": {"model_name": (1, "string"), "isUnloaded": (2, "bool")},
}
"""Message: field: (number, type); `*` is repeated, `%` a map from names, `?` one of a choice.
Messages of one shape on the wire are one here: InferTensor is InferInputTensor and
InferOutputTensor."""


MESSAGES = classes(PACKAGE, _FIELDS)
"""The classes, by the names of the protocol."""
