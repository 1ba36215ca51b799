"""Several channels in one folder: their settings, what was counted, and what was trained."""

import json
from collections.abc import Callable
from pathlib import Path

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.names import check_name
from tf_recall.export.describe import described
from tf_recall.export.versions import CHANNELS
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.counted import CountedChannel
from tf_recall.registry import part


def write_channels(
    multi: MultiChannel, folder: Path, write_trained: Callable[[str, Recommender, Path], None]
) -> None:
    """Writes the files of several channels.

        channels.json     the channels' names and settings, and the merge
        channels/<name>/  what was counted; of a trained one its export, which TensorFlow Serving
                          can load
        catalog/

    Args:
        multi: the channels.
        folder: an empty folder.
        write_trained: a function of a channel's name, the channel and an empty folder, for what is
            not counted.

    Raises:
        ValueError: a counted channel, or a merge, of a class that is not registered; a channel
            whose name is not a plain name of one folder.
    """
    _check_names(multi.channels, "channels")
    settings = {"channels": {}, "merge": described("merge", multi.merge), "depth": multi.depth}
    for name, channel in multi.channels.items():
        home = folder / "channels" / name
        if isinstance(channel, CountedChannel):
            channel.save(home)
            settings["channels"][name] = described("channel", channel)
        else:
            home.mkdir(parents=True)
            write_trained(name, channel, home)
            settings["channels"][name] = {"name": "trained"}
    multi.catalog.save(folder / "catalog")
    (folder / CHANNELS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read_channels(folder: Path, read_trained: Callable[[Path], Recommender]) -> MultiChannel:
    """Reads what `write_channels` wrote.

    Args:
        folder: a version's folder.
        read_trained: a function of a folder, for what is not counted.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one is damaged, or a channel's name is not a plain name of one folder.
    """
    try:
        settings = json.loads((folder / CHANNELS).read_text(encoding="utf-8"))
        _check_names(settings["channels"], str(folder / CHANNELS))
        merge, depth = part("merge", settings["merge"]), settings["depth"]
        made = {
            name: None if values["name"] == "trained" else part("channel", values)
            for name, values in settings["channels"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / CHANNELS} is damaged: {error}") from error
    catalog = Catalog.load(folder / "catalog")
    channels = {}
    for name, channel in made.items():
        home = folder / "channels" / name
        channels[name] = read_trained(home) if channel is None else channel.load(home, catalog)
    return MultiChannel(channels, catalog, merge, depth)


def _check_names(names, where):
    for name in names:
        check_name(where, name)
