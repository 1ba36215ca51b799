"""The layout: imports run one way, without a circle; the top holds four files."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tf_recall

ROOT = Path(tf_recall.__file__).parent
TOP = {"__init__", "cli", "config", "registry"}
ORDER = {  # a room imports rooms of its own level or of lower ones
    "client": 0,
    "registry": 1,
    "config": 1,
    "data": 1,
    "graph": 2,
    "index": 2,
    "features": 2,
    "positives": 3,
    "negatives": 4,
    "losses": 4,
    "towers": 4,
    "retrievers": 5,
    "models": 6,
    "recommend": 3,
    "channels": 4,
    "evaluation": 4,
    "export": 5,
    "lists": 5,
    "stores": 6,
    "serving": 6,
    "beam": 6,
    "deploy": 7,
    "runs": 7,
    "tuning": 8,
    "cli": 9,
}


def modules():
    files = sorted(ROOT.rglob("*.py"))
    return {
        ".".join(["tf_recall", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
            ".__init__"
        ): path
        for path in files
    }


KNOWN = modules()


def imported(path):
    """The package's own modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name not in KNOWN and "." in name:
                name = name.rpartition(".")[0]
            if name in KNOWN and name != "tf_recall":
                found.add(name)
    return found


IMPORTS = {name: imported(path) - {name} for name, path in KNOWN.items() if name != "tf_recall"}


def room(name):
    return name.split(".")[1]


def check_no_circle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_the_top_holds_four_files():
    assert {path.stem for path in ROOT.glob("*.py")} == TOP


def test_no_circle_between_files():
    check_no_circle(IMPORTS)


def test_no_circle_between_rooms():
    rooms = {}
    for name, used in IMPORTS.items():
        rooms.setdefault(room(name), set()).update({room(each) for each in used} - {room(name)})
    check_no_circle(rooms)


def test_imports_run_one_way():
    wrong = [
        f"{name} imports {each}"
        for name, used in IMPORTS.items()
        for each in used
        if ORDER[room(each)] > ORDER[room(name)]
    ]
    assert not wrong


def test_no_file_is_too_long():
    for path in KNOWN.values():
        assert len(path.read_text().splitlines()) <= 400, path
