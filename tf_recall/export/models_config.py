"""`models.config`: the list of models that a server reads, beside the folders of their versions."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tf_recall.data.atomic import atomic_file, locked, translated_disk_errors
from tf_recall.data.errors import one_line

NAME = "models.config"


def read(path: Path) -> model_server_config_pb2.ModelServerConfig:
    """The list in a file; an empty one where there is no such file.

    Raises:
        ValueError: the file is no list of models, or one to which none can be added.
    """
    config = model_server_config_pb2.ModelServerConfig()
    if not path.exists():
        return config
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no ModelServerConfig, correct or remove it: {one_line(error)}"
        ) from None
    if config.HasField("custom_model_config"):
        raise ValueError(f"{path} holds a custom_model_config, to which no model can be added")
    return config


def add(directory: Path) -> None:
    """Adds a model's folder to the list beside it.

    An entry that is there stays as it is, its version policy too. What several processes add at a
    time is all there in the end.

    Raises:
        ValueError: as `read`.
        OSError: the disk is full or refuses.
    """
    path = directory.parent / NAME
    kept = f"the version in {directory} is whole, and not listed"
    with translated_disk_errors(path, kept), locked(path):
        models = read(path)
        listed = models.model_config_list.config
        if directory.name in (model.name for model in listed):
            return
        listed.add(name=directory.name, base_path=str(directory), model_platform="tensorflow")
        with atomic_file(path) as aside:
            aside.write_text(text_format.MessageToString(models, as_utf8=True), encoding="utf-8")
