"""Version folders `<name>/<version>/`: published whole, found again, checked by a manifest."""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from tf_recall.data import manifest, notation
from tf_recall.data.atomic import (
    clear_asides,
    folder_aside,
    rename_folder,
    translated_disk_errors,
)

CHANNELS = "channels.json"
MARKS = ("saved_model.pb", CHANNELS)  # what a version's folder holds, one or the other
MANIFEST = "manifest.json"
METRICS = "metrics.json"
ASIDE = "export"
WITHDRAWN = "withdrawn."  # before the number of a version that is rolled back
LARGEST = 2**63 - 1  # what the server reads as a version
TRIES = 100


def publish(directory: Path, version: int | None, write: Callable[[Path], None]) -> Path:
    """Writes a version's folder, whole or not at all.

    Everything is written into a hidden folder first and renamed last: a server that polls
    `directory`, or a disk that fills up, never meets half a model.

    Args:
        directory: the model's folder.
        version: its number, or None for one above all that are taken, whatever has them.
        write: a function of the folder to write into.

    Returns:
        The folder of the new version.

    Raises:
        FileExistsError: the version is there already.
        OSError: the disk is full or refuses; nothing of the version is left.
        ValueError: a version that is no whole number from 1 to 2**63 - 1.
    """
    check_version(directory, version)
    aim = directory if version is None else directory / str(version)
    with (
        translated_disk_errors(aim, "nothing of this version is left, earlier ones stay"),
        folder_aside(directory, ASIDE) as aside,
    ):
        write(aside)
        manifest.write(aside, MANIFEST)
        if version is not None:
            return rename_folder(aside, directory / str(version))
        return _renamed_to_next(aside, directory)


def check_version(directory: Path, version: int | None) -> None:
    """Refuses what `publish` could not write, before the work.

    Raises:
        FileExistsError, ValueError: as `publish`.
        NotADirectoryError: `directory` is a file.
    """
    if version is not None and (type(version) is not int or not 1 <= version <= LARGEST):
        raise ValueError(
            f"a version is a whole number from 1, as the server wants it; got {version!r}"
        )
    if os.path.lexists(directory) and not directory.is_dir():
        raise NotADirectoryError(f"{directory} is a file: versions go into a folder of this name")
    if version is not None and os.path.lexists(directory / str(version)):
        raise FileExistsError(
            f"{directory / str(version)} exists: choose another version, or none for the next one"
        )


def clear(directory: Path) -> None:
    """Removes what killed processes left of exports to `directory`."""
    clear_asides(directory, ASIDE)


def write_notes(folder: Path, config: dict | None, metrics: dict | None) -> None:
    """Writes how a model was made and how good it is."""
    (folder / "config.yaml").write_text(notation.write(dict(config or {})), encoding="utf-8")
    figures = json.dumps(dict(metrics or {}), indent=2, default=float)
    (folder / METRICS).write_text(figures + "\n", encoding="utf-8")


def read_metrics(folder: Path) -> dict:
    """How good a model is, as `write_notes` wrote it; empty where that is not known.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return metrics if isinstance(metrics, dict) else {}


def write_manifest(folder: Path) -> None:
    """Writes what the folder holds, by which `check_manifest` finds out damage."""
    manifest.write(folder, MANIFEST)


def versions(directory: str | Path, marks: Iterable[str] = MARKS) -> list[int]:
    """The versions in `<directory>/<version>/`, rising.

    Args:
        directory: of a model, or of several channels.
        marks: files one of which a version's folder holds.
    """
    names = {path.parent.name for mark in marks for path in Path(directory).glob(f"*/{mark}")}
    return sorted(number for name in names if str(number := _number(name)) == name)


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


def check_manifest(path: Path, verify: bool = True) -> None:
    """Refuses a version's folder that is not as it was written.

    Args:
        path: the folder.
        verify: compare every byte, by digests; else names and sizes only, which a file that was
            edited or damaged may pass.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file differs from what was written, or is one too many.
    """
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{path / MANIFEST} is missing: {path} is incomplete, or was not exported by tf_recall"
        )
    manifest.check(path, manifest.read(path, MANIFEST)["files"], MANIFEST, verify)


def digest_of(path: Path) -> str:
    """What tells a version's content from others': the digest of its manifest."""
    return manifest.digest(path / MANIFEST)


def _renamed_to_next(aside, directory):
    number = 0
    for _ in range(TRIES):
        number = max(number, _highest(directory)) + 1
        try:
            return rename_folder(aside, directory / str(number))
        except FileExistsError:  # another export took the number just now
            continue
    raise FileExistsError(f"{directory}: other exports took all of {TRIES} numbers up to {number}")


def withdraw(directory: str | Path) -> tuple[Path, Path]:
    """Rolls back: the newest version goes aside, and the one before it is the newest again.

    It is renamed, `<version>` to `withdrawn.<version>`, which servers do not take for a version:
    they let it go and load the one before. Its number is not given again.

    Args:
        directory: the model's folder.

    Returns:
        The version that is the newest now, and where the one that was is now.

    Raises:
        FileNotFoundError: there are no two versions.
    """
    directory = Path(directory)
    found = versions(directory)
    if len(found) < 2:
        raise FileNotFoundError(
            f"{directory} has no version before the newest to roll back to: it has "
            f"{', '.join(map(str, found)) or 'none'}"
        )
    aside = rename_folder(directory / str(found[-1]), directory / f"{WITHDRAWN}{found[-1]}")
    return directory / str(found[-2]), aside


def reinstate(directory: str | Path) -> Path:
    """Undoes the last `withdraw`; returns the version that is the newest again.

    Raises:
        FileNotFoundError: nothing was rolled back since the newest version was published.
    """
    directory = Path(directory)
    newest = max(versions(directory), default=0)
    later = [number for number in withdrawn(directory) if number > newest]
    if not later:
        raise FileNotFoundError(
            f"{directory} has nothing to bring back: no version after {newest} was rolled back"
        )
    return rename_folder(directory / f"{WITHDRAWN}{later[0]}", directory / str(later[0]))


def withdrawn(directory: str | Path) -> list[int]:
    """The numbers of the versions that were rolled back, rising."""
    names = [path.name[len(WITHDRAWN) :] for path in Path(directory).glob(f"{WITHDRAWN}*")]
    return sorted(number for name in names if str(number := _number(name)) == name)


def _highest(directory):
    """The highest number that an entry has, be it a version, a broken copy or a file."""
    names = [path.name.removeprefix(WITHDRAWN) for path in directory.iterdir()]
    return max(map(_number, names), default=0)


def _number(name):
    """The version that the server reads in a name; 0 where it reads none."""
    number = int(name) if re.fullmatch("[0-9]{1,30}", name) else 0
    return number if number <= LARGEST else 0
