"""Protobuf messages from a table of their fields, without generated code."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"bytes": _Field.TYPE_BYTES, "string": _Field.TYPE_STRING, "int32": _Field.TYPE_INT32,
          "int64": _Field.TYPE_INT64, "bool": _Field.TYPE_BOOL, "float": _Field.TYPE_FLOAT}


def build_messages(package: str, messages: Mapping[str, str]) -> dict[str, type]:
    """The message classes of a proto3 package, by name.

    Args:
        package: the package's name.
        messages: name -> "field=number:type ...", a type with "*" is repeated; a type that is not one of protobuf's is
            another message of the table. Fields that are not in the table are skipped when a message is read.

    >>> Rect = build_messages("doctest", {"Rect": "left=1:int32 top=2:int32"})["Rect"]
    >>> Rect.FromString(Rect(left=3).SerializeToString()).left
    3
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, text in messages.items():
        message = file.message_type.add(name=name)
        for part in text.split():
            field_name, _, rest = part.partition("=")
            number, _, kind = rest.partition(":")
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    classes = message_factory.GetMessages([file], descriptor_pool.DescriptorPool())
    return {name: classes[f"{package}.{name}"] for name in messages}
