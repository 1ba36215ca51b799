"""YAML as configs have it: what could be read in two ways is text, or is refused by its line.

YAML 1.1, which PyYAML reads, takes `no` and `on` for truth values, `010` for 8, `1:30` for 90,
`1_000` for 1000 and `2024-01-31` for a date; `1e-3` it takes for text. Here `true` and `false` are
the truth values, numbers are decimal, and all else is text.
"""

import re
from typing import Any

import yaml

from tf_recall.data.errors import one_line

DEEPEST = 60  # lists and mappings within one another
LARGEST = 100_000  # values; what anchors repeat counts as often as it is there

TAG = "tag:yaml.org,2002:"
FORMS = {  # what is not text: its first characters, its form
    "null": (["~", "n", "N", ""], "~|null|Null|NULL|"),
    "bool": (list("tTfF"), "true|True|TRUE|false|False|FALSE"),
    "int": (list("-+0123456789"), "[-+]?(0|[1-9][0-9]*)"),
    "float": (
        list("-+.0123456789"),
        r"[-+]?((\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))"
        r"|\.(nan|NaN|NAN)",
    ),
    "merge": (["<"], "<<"),
}


class Loader(yaml.SafeLoader):
    """Reads YAML as configs have it."""

    yaml_implicit_resolvers = {}

    def fetch_tag(self) -> None:
        """Refuses a tag, such as `!!int` or one that would make an object."""
        raise yaml.scanner.ScannerError(None, None, "it may have no tags", self.get_mark())

    def get_single_node(self) -> yaml.Node | None:
        """The root of the document, checked; an alias is a node that occurs again."""
        root = super().get_single_node()
        if root is not None:
            _check(root, {}, ())
        return root


class Dumper(yaml.SafeDumper):
    """Writes YAML that `Loader` reads; texts that other readers take for more are in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether a value that occurs twice is written twice: always."""
        return True


for _name, (_first, _form) in FORMS.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(TAG + _name, re.compile(f"({_form})$"), _first)

Loader.add_constructor(TAG + "merge", yaml.SafeLoader.construct_yaml_str)  # "<<" that is no key
Loader.add_constructor(TAG + "int", lambda loader, node: int(loader.construct_scalar(node)))


def read(text: str, where: str) -> Any:
    """Reads YAML: lists, mappings with keys of text, texts, numbers, true, false and null.

    Args:
        text: the YAML.
        where: what an error calls it, such as the file.

    Raises:
        ValueError: in one line: no valid YAML, a key twice or not of text, anchors within
            themselves, or more than a config can be.

    Example:
        >>> read("{country: no, epochs: 3, rate: 1e-3, day: 2024-01-31}", "the example")
        {'country': 'no', 'epochs': 3, 'rate': 0.001, 'day': '2024-01-31'}
    """
    try:
        return _unshared(yaml.load(text, Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(filter(None, (error.context, error.problem)))
        said = f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem
    except (yaml.YAMLError, ValueError) as error:  # a character that it cannot have, a huge number
        said = one_line(error)
    except RecursionError:
        said = f"lists and mappings may be {DEEPEST} within one another, not more"
    raise ValueError(f"{where} is not valid YAML: {said}") from None


def write(values: Any) -> str:
    """Writes values as YAML, which `read` reads.

    Example:
        >>> print(write({"name": "no", "epochs": 3}), end="")
        name: 'no'
        epochs: 3
    """
    return yaml.dump(values, Dumper=Dumper, sort_keys=False)


def _check(node, sizes, above):
    """Checks a node and all below it; returns how many values it is."""
    if node in above:
        _refuse(node, "an anchor is within itself")
    if len(above) > DEEPEST:
        _refuse(node, f"lists and mappings may be {DEEPEST} within one another, not more")
    if node not in sizes:
        below = ()
        if isinstance(node, yaml.ScalarNode):
            node.value.encode()  # refuses half characters
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        else:
            _check_keys(node)
            below = [value for _, value in node.value]
        sizes[node] = 1 + sum(_check(each, sizes, (*above, node)) for each in below)
    if sizes[node] > LARGEST:
        _refuse(node, f"with what its anchors repeat it is more than {LARGEST} values")
    return sizes[node]


def _check_keys(node):
    lines = {}
    for key, _ in node.value:
        if key.tag == TAG + "merge":
            continue
        if key.tag != TAG + "str":
            named = key.value if isinstance(key.value, str) else "a list or a mapping"
            _refuse(key, f"a key is text, and {named!r} is not: put it in quotes")
        if key.value in lines:
            _refuse(key, f"the key {key.value!r} is there already, in line {lines[key.value]}")
        lines[key.value] = key.start_mark.line + 1


def _refuse(node, problem):
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _unshared(value):
    """The same values, where anchors repeat one each time its own: it may be changed alone."""
    if isinstance(value, dict):
        return {key: _unshared(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unshared(each) for each in value]
    return value
