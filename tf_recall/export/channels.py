"""Several channels in one folder: written whole or not at all, and loaded again."""

import json
from pathlib import Path

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.export.load import CHANNELS, check, load
from tf_recall.export.write import publish, write, write_notes
from tf_recall.registry import described, part


def save(
    multi: MultiChannel, directory, version=None, config=None, metrics=None, models=None
) -> Path:
    """Writes `<directory>/<version>/`, whole or not at all; `tf_recall.load` reads it.

        channels.json              the channels' names and settings, and the merge
        channels/<name>/           what was counted; of a trained one its export, which TensorFlow
        Serving can load catalog/
        config.yaml  metrics.json  how it was made, how good it is
        manifest.json              sizes of the files

    Args:
        multi: channels that were counted, and services.
        directory: `saved_models/<name>`.
        version: a whole number from 1; by default one more than the newest.
        config, metrics: mappings to keep beside.
        models: the trained Keras models by channel, to keep for `restore` and for reasons.

    Raises:
        FileExistsError: the version is there already.
        ValueError: a version that is no whole number from 1, a channel of a class that is not
            registered.
    """
    return publish(
        Path(directory).absolute(),
        version,
        lambda aside: _write(multi, aside, config, metrics, models or {}),
    )


def read(path) -> MultiChannel:
    """What `save` wrote.

    Args:
        path: a version's folder.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one is damaged.
    """
    path = Path(path)
    check(path)
    settings = json.loads((path / CHANNELS).read_text())
    catalog = Catalog.load(path / "catalog")
    channels = {}
    for name, values in settings["channels"].items():
        folder = path / "channels" / name
        trained = values["name"] == "trained"
        channels[name] = load(folder) if trained else part("channel", values).load(folder, catalog)
    return MultiChannel(channels, catalog, part("merge", settings["merge"]), settings["depth"])


def _write(multi, aside, config, metrics, models):
    settings = {"channels": {}, "merge": described("merge", multi.merge), "depth": multi.depth}
    for name, channel in multi.channels.items():
        folder = aside / "channels" / name
        if hasattr(channel, "query_tower"):
            folder.mkdir(parents=True)
            write(channel, folder, name, model=models.get(name))
            settings["channels"][name] = {"name": "trained"}
        else:
            channel.save(folder)
            settings["channels"][name] = described("channel", channel)
    multi.catalog.save(aside / "catalog")
    (aside / CHANNELS).write_text(json.dumps(settings, indent=2) + "\n")
    write_notes(aside, config, metrics)
