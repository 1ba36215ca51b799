"""Which models there are, and which of their versions are to be served."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tf_recall.export import models_config
from tf_recall.export.versions import versions

log = logging.getLogger("tf_recall.serving")


@dataclass(frozen=True)
class Entry:
    """A model: where its versions are, and which of them count.

    Attributes:
        name: on the server.
        folder: holds its versions.
        latest: how many of the newest are served; None for all.
        specific: the only ones that are served, whatever `latest` says; empty for any.
        labels: versions by label.
        pinned: are served beside the newest ones, while they are on disk.
    """

    name: str
    folder: Path
    latest: int | None = 1
    specific: tuple[int, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    pinned: frozenset[int] = frozenset()

    def candidates(self) -> list[int]:
        """The versions on disk that may be served, the newest first.

        Raises:
            OSError: the folder cannot be read.
        """
        next(self.folder.iterdir(), None)  # `versions` takes what it cannot read for empty
        found = versions(self.folder)
        if self.specific:
            found = [each for each in found if each in self.specific]
        return found[::-1]

    @property
    def number(self) -> int | None:
        """How many of the candidates are served; None for all."""
        return None if self.specific else self.latest


class Repository:
    """The models in a folder, or in a list of them.

    A folder's models are the folders in it that hold versions, or the folder itself where it holds
    versions. What its `models.config` says of one counts: the version policy, the labels, and
    another `base_path` where it is a folder of this machine. A list of one's own, `config`, names
    all models and where they are, and nothing else is served. Either is read anew each time.

    Args:
        folder: `saved_models`, or `saved_models/<name>`.
        config: a file in the form of TensorFlow Serving's `--model_config_file`.
        pinned: by model, versions to serve beside the newest, as experiments name them. Where
            `models.config` asks for specific versions, these alone count.

    Raises:
        FileNotFoundError: `folder` or `config` is not there.
    """

    def __init__(
        self,
        folder: str | Path,
        config: str | Path | None = None,
        pinned: Mapping[str, set[int]] | None = None,
    ):
        self.folder = Path(folder).absolute()
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{folder} is no folder: give one of exports, saved_models/")
        self.config = None if config is None else Path(config).absolute()
        self._pinned = pinned or {}
        if self.config is not None and not self.config.is_file():
            raise FileNotFoundError(f"{config} is no file: give a models.config")

    def entries(self) -> dict[str, Entry]:
        """The models by name.

        Raises:
            ValueError: the list of models does not parse, or says what cannot be.
            OSError: the folder cannot be read.
        """
        return {
            name: replace(entry, pinned=frozenset(self._pinned.get(name, ())))
            for name, entry in self._entries().items()
        }

    def _entries(self):
        if self.config is not None:
            listed = _listed(self.config)
            return {each.name: _entry(each, self.folder / each.base_path) for each in listed}
        if versions(self.folder):
            return {self.folder.name: Entry(self.folder.name, self.folder)}
        folders = [path for path in self.folder.iterdir() if path.is_dir() and path.name[0] != "."]
        found = {path.name: Entry(path.name, path) for path in folders if versions(path)}
        for model in _listed(self.folder / models_config.NAME):
            beside = self.folder / model.name
            elsewhere = Path(model.base_path)
            if elsewhere.is_absolute() and elsewhere.is_dir():
                found[model.name] = _entry(model, elsewhere)
            elif model.name in found:
                found[model.name] = _entry(model, beside)
        return dict(sorted(found.items()))


def _listed(path):
    """The entries of a list, each checked to have a name of its own."""
    models = list(models_config.read(path).model_config_list.config)
    names = [model.name for model in models]
    if wrong := sorted({name for name in names if not name or names.count(name) > 1}):
        raise ValueError(
            f"{path} names a model twice, or not at all: {', '.join(map(repr, wrong))}"
        )
    return models


def _entry(model, folder):
    policy, latest, specific = model.model_version_policy, 1, ()
    match policy.WhichOneof("policy_choice"):
        case "all":
            latest = None
        case "specific":
            specific = tuple(policy.specific.versions)
            if not specific:
                raise ValueError(f"the model {model.name!r} asks for specific versions, and none")
        case "latest":
            latest = max(1, policy.latest.num_versions)
    return Entry(model.name, folder, latest, specific, dict(model.version_labels))
