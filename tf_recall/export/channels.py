"""Several channels in one folder: their settings, what was counted, and what was trained."""

import json
from collections.abc import Callable
from pathlib import Path

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.export.versions import CHANNELS
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.counted import CountedChannel
from tf_recall.registry import described, part


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
        ValueError: a counted channel, or a merge, of a class that is not registered.
    """
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
    (folder / CHANNELS).write_text(json.dumps(settings, indent=2) + "\n")


def read_channels(folder: Path, read_trained: Callable[[Path], Recommender]) -> MultiChannel:
    """Reads what `write_channels` wrote.

    Args:
        folder: a version's folder.
        read_trained: a function of a folder, for what is not counted.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one is damaged.
    """
    settings = json.loads((folder / CHANNELS).read_text())
    catalog = Catalog.load(folder / "catalog")
    channels = {}
    for name, values in settings["channels"].items():
        home = folder / "channels" / name
        if values["name"] == "trained":
            channels[name] = read_trained(home)
        else:
            channels[name] = part("channel", values).load(home, catalog)
    return MultiChannel(channels, catalog, part("merge", settings["merge"]), settings["depth"])
