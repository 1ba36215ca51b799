"""Version folders `<name>/<version>/`: published whole, found again, checked by a manifest."""

import json
from collections.abc import Callable
from pathlib import Path

from tf_recall.data import notation
from tf_recall.data.atomic import folder_aside, rename_folder

CHANNELS = "channels.json"
MARKS = ("saved_model.pb", CHANNELS)  # what a version's folder holds, one or the other


def publish(directory: Path, version: int | None, write: Callable[[Path], None]) -> Path:
    """Writes a version's folder, whole or not at all.

    Everything is written into a hidden folder first and renamed last: a server that polls
    `directory`, or a disk that fills up, never meets half a model.

    Args:
        directory: the model's folder.
        version: its number, or None for the next one.
        write: a function of the folder to write into.

    Returns:
        The folder of the new version.

    Raises:
        FileExistsError: the version is there already.
        ValueError: a version that is no whole number from 1.
    """
    if version is not None and (not isinstance(version, int) or version < 1):
        raise ValueError(
            f"a version is a whole number from 1, as the server wants it; got {version!r}"
        )
    if version is not None and (directory / str(version)).exists():
        raise FileExistsError(
            f"{directory / str(version)} exists: choose another version, or none for the next one"
        )
    with folder_aside(directory, "export") as aside:
        write(aside)
        write_manifest(aside)
        number = version or max(versions(directory), default=0) + 1
        while True:
            try:
                return rename_folder(aside, directory / str(number))
            except FileExistsError:
                if version is not None:
                    raise
                # another export took the number meanwhile
                number = max(number, *versions(directory)) + 1


def write_notes(folder: Path, config: dict | None, metrics: dict | None) -> None:
    """Writes how a model was made and how good it is."""
    (folder / "config.yaml").write_text(notation.write(dict(config or {})), encoding="utf-8")
    figures = json.dumps(dict(metrics or {}), indent=2, default=float)
    (folder / "metrics.json").write_text(figures + "\n")


def write_manifest(folder: Path) -> None:
    """Writes the sizes of all files, by which a truncated copy is found out."""
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"bytes": sizes}, indent=2) + "\n")


def versions(directory: str | Path) -> list[int]:
    """The versions in `<directory>/<version>/`, of a model or of several channels, rising."""
    names = {path.parent.name for mark in MARKS for path in Path(directory).glob(f"*/{mark}")}
    return sorted(int(name) for name in names if name.isdecimal())


def version_folder(path: str | Path) -> Path:
    """`path` where it is a version's folder, else its newest version's.

    Raises:
        FileNotFoundError: there is no export.
    """
    path = Path(path)
    if any((path / mark).is_file() for mark in MARKS):
        return path
    if found := versions(path):
        return path / str(found[-1])
    raise FileNotFoundError(
        f"no export at {path}: it must be .../<name>/<version> with a saved_model.pb, or .../<name>"
    )


def check_manifest(path: Path) -> None:
    """Refuses a version's folder from which something is missing, or that was not copied whole.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file has another size than it was written with.
    """
    manifest = path / "manifest.json"
    if not manifest.is_file():
        raise FileNotFoundError(
            f"{manifest} is missing: {path} is incomplete, or was not exported by tf_recall"
        )
    try:
        sizes = json.loads(manifest.read_text())["bytes"]
    except ValueError as error:
        raise ValueError(f"{manifest} is damaged, export or copy {path} again: {error}") from None
    if missing := [name for name in sizes if not (path / name).is_file()]:
        raise FileNotFoundError(f"{path} lacks {', '.join(missing)}: copy the whole folder")
    for name, size in sizes.items():
        if (found := (path / name).stat().st_size) != size:
            raise ValueError(
                f"{path / name} is damaged: it has {found} bytes and should have {size}; copy it "
                "again"
            )
