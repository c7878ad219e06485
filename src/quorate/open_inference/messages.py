"""The protocol's gRPC messages, as classes of protobuf.

Described here in a table rather than generated, and in a pool of their own: so any release of
protobuf will do, and other packages that carry the same messages may be in the same process.
What is not named is passed over when a message is read.

Source: open_inference_grpc.proto, github.com/kserve/open-inference-protocol; RepositoryIndex,
RepositoryModelLoad and RepositoryModelUnload from Triton's model repository extension.
"""

from __future__ import annotations

from typing import Any

from quorate.errors import MissingExtraError

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    raise MissingExtraError("gRPC", "remote") from error

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


def _made() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            how, kind = kind[0], kind.lstrip("*%?")
            field.label = kinds.LABEL_REPEATED if how in "*%" else kinds.LABEL_OPTIONAL
            if how == "%":
                entry = message.nested_type.add(name=f"{field_name.title()}Entry")
                entry.options.map_entry = True
                optional = kinds.LABEL_OPTIONAL
                entry.field.add(name="key", number=1, label=optional, type=kinds.TYPE_STRING)
                value = entry.field.add(name="value", number=2, label=optional)
                value.type, value.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
                kind = f"{name}.{entry.name}"
            if how == "?":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="parameter_choice")
                field.oneof_index = 0
            if how == "%" or kind in _FIELDS:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _FIELDS
    }


MESSAGES = _made()
"""The classes, by the names of the protocol."""
