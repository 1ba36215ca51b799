"""The messages of TensorFlow Serving's gRPC that a client needs, without TensorFlow.

`tensorflow_serving.apis` imports all of TensorFlow for them. These are the same on the wire: the
same fields under the same numbers, in a pool of their own, so that both may be in one process.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PLAIN = {
    kind.removeprefix("TYPE_").lower(): number
    for kind, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}
_ONE, _MANY = 1, 3  # LABEL_OPTIONAL, LABEL_REPEATED
_MESSAGES = {  # field: (number, type), with `*` before the type of many, and of maps key>value
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "Shape": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "double_val": (6, "*double"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
    },
    "Number": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Number"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "string>Tensor")},
    "PredictResponse": {"outputs": (1, "string>Tensor"), "model_spec": (2, "ModelSpec")},
    "TensorInfo": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "Signature": {"inputs": (1, "string>TensorInfo"), "outputs": (2, "string>TensorInfo")},
    "SignatureMap": {"signature_def": (1, "string>Signature")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "MetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "*string")},
    "MetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "string>Any")},
}
_PACKAGE = "tf_recall.client"


def _file():
    file = descriptor_pb2.FileDescriptorProto(name="client.proto", package=_PACKAGE)
    file.syntax = "proto3"
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            if ">" in kind:
                _add_map(message, field, number, *kind.split(">"))
            else:
                _add(message, field, number, kind.lstrip("*"), _MANY if kind[0] == "*" else _ONE)
    return file


def _add(message, field, number, kind, label):
    made = message.field.add(name=field, number=number, label=label)
    if kind in _PLAIN:
        made.type = _PLAIN[kind]
    else:
        made.type, made.type_name = _PLAIN["message"], f".{_PACKAGE}.{kind}"


def _add_map(message, field, number, key, value):
    name = "".join(each.capitalize() for each in field.split("_")) + "Entry"  # as protoc names it
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    _add(entry, "key", 1, key, _ONE)
    _add(entry, "value", 2, value, _ONE)
    _add(message, field, number, f"{message.name}.{name}", _MANY)


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def _kind(name):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Tensor, ModelSpec = _kind("Tensor"), _kind("ModelSpec")
PredictRequest, PredictResponse = _kind("PredictRequest"), _kind("PredictResponse")
MetadataRequest, MetadataResponse = _kind("MetadataRequest"), _kind("MetadataResponse")
SignatureMap = _kind("SignatureMap")
