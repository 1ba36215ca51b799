"""Manifests: a file that says what else a folder holds, by which damage and edits are found out."""

import hashlib
import json
from pathlib import Path
from typing import Any


def write(folder: Path, name: str, values: dict[str, Any] | None = None) -> None:
    """Writes a JSON file with the size and the SHA-256 of every other file of a folder.

        {**values, "files": {path: {"bytes": ..., "sha256": ...}}, "sha256": of all this}

    Args:
        folder: a folder that is whole but for this file.
        name: of the file.
        values: what else it holds, fit for JSON.
    """
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / name
    }
    (folder / name).write_bytes(_text({**(values or {}), "files": files}))


def read(folder: Path, name: str) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a byte of it differs.
    """
    path = folder / name
    content = path.read_bytes()
    try:
        values = json.loads(content)
        found = values.pop("sha256")
        whole = content == _text(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} is damaged, or of another version of tf_recall") from None
    if not whole:
        raise ValueError(f"{path} is damaged or was edited: it says sha256 {found} of itself")
    return values


def check(folder: Path, files: dict[str, dict], own: str, verify: bool = True) -> None:
    """Compares a folder with its manifest.

    Files whose name, or whose folder's, begins with a dot are nobody's business.

    Args:
        folder: the folder.
        files: as `write` writes them.
        own: the manifest's name.
        verify: read every file, and refuse files that are not in the manifest; else sizes only.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file has another size or, if `verify`, content; or it is one too many.
    """
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: copy the whole folder")
    for name, known in files.items():
        path = folder / name
        if (found := path.stat().st_size) != known["bytes"]:
            raise ValueError(
                f"{path} is damaged: it has {found} bytes and should have {known['bytes']}; copy "
                "it again"
            )
    if not verify:
        return
    if foreign := sorted(_shown(folder) - {*files, own}):
        raise ValueError(
            f"{folder} holds {', '.join(foreign)}, which was not written with it: move it elsewhere"
        )
    for name, known in files.items():
        if digest(folder / name) != known["sha256"]:
            raise ValueError(
                f"{folder / name} is damaged or was edited: its content is not what was written; "
                "copy it again"
            )


def digest(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it; the file is read block by block."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(values):
    own = hashlib.sha256(json.dumps(values).encode()).hexdigest()
    return (json.dumps({**values, "sha256": own}, indent=1) + "\n").encode()


def _shown(folder):
    """The files of a folder by their path in it, but for hidden ones."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {path.as_posix() for path in paths if not any(part[0] == "." for part in path.parts)}
