"""Messages of protobuf as classes, described in a table rather than generated.

They are in a pool of their own: so any release of protobuf will do, and other packages that carry
the same messages may be in the same process. What is not named is passed over when a message is
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CHOICE = "choice"
"""The name of a message's choice, for `WhichOneof`."""
Fields = Mapping[str, tuple[int, str]]


def classes(package: str, messages: Mapping[str, Fields]) -> dict[str, Any]:
    """The classes by name, of message: field: (number, type).

    `*` before a type is repeated, `%` a map from names, `?` one of a choice.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in messages.items():
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
                value.type, value.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
                kind = f"{name}.{entry.name}"
            if how == "?":
                if not message.oneof_decl:
                    message.oneof_decl.add(name=CHOICE)
                field.oneof_index = 0
            if how == "%" or kind in messages:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }
