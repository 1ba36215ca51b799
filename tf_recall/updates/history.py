"""The versions of a model, and where each comes from."""

from pathlib import Path
from typing import Any

from tf_recall.export import lineage
from tf_recall.export.versions import WITHDRAWN, versions, withdrawn


def history(directory: str | Path) -> list[dict[str, Any]]:
    """The versions of a model with their lineages, the oldest first, rolled back ones too.

    Args:
        directory: `saved_models/<name>`.

    Raises:
        FileNotFoundError: there is none.
    """
    directory = Path(directory)
    folders = {(number, False): directory / str(number) for number in versions(directory)}
    for number in withdrawn(directory):
        folders[number, True] = directory / f"{WITHDRAWN}{number}"
    if not folders:
        raise FileNotFoundError(f"{directory} has no versions")
    return [
        {"version": number, "withdrawn": aside, **lineage.read(folder)}
        for (number, aside), folder in sorted(folders.items())
    ]
