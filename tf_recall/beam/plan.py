"""The inputs of layer-by-layer inference, checked before anything runs."""

import re

from tf_recall.beam import tables
from tf_recall.beam.layers import Layer

NAME = re.compile(r"[\w.-]+")


class Plan:
    """The tables and layers of a run, which fit together.

    Attributes:
        layers: `[Layer]`, convolutions by relation and combinations by type.
        over: `{relation: (type, type of its neighbors)}`.
        nodes: `{type: Table}`.
        edges: `{relation: Table}`.
        num_shards: `{type: number}`.

    Args and Raises: as `tf_recall.beam.layerwise.layerwise`.
    """

    def __init__(self, nodes: dict, edges: dict, layers: list[Layer], rows_per_shard: int):
        if rows_per_shard < 1:
            raise ValueError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
        for of_type in nodes:
            if not NAME.fullmatch(of_type):
                raise ValueError(
                    f"types name folders: letters, digits and _ . - only, got {of_type!r}"
                )
        self.layers = layers
        self.rows_per_shard = rows_per_shard
        self.over = {}
        for key in edges:
            if (name := relation(key)) in self.over:
                raise ValueError(
                    f"there are two relations {name!r}; give one a name: (type, type of its "
                    "neighbors, name)"
                )
            self.over[name] = (key[0], key[1])
        self._check_types(nodes)
        self._check_additive()
        self.nodes = {of_type: tables.nodes(pattern, of_type) for of_type, pattern in nodes.items()}
        self.edges = {
            relation(key): tables.edges(pattern, self.over[relation(key)], relation(key))
            for key, pattern in edges.items()
        }
        self._check_lengths()
        self.num_shards = {
            of_type: -(-table.rows // rows_per_shard) for of_type, table in self.nodes.items()
        }

    def fingerprint(self) -> dict:
        """What the result depends on: `{name: fingerprint of the table}`."""
        nodes = {
            f"nodes of {of_type!r}": table.fingerprint() for of_type, table in self.nodes.items()
        }
        edges = {table.title: table.fingerprint() for table in self.edges.values()}
        return nodes | edges

    def of(self, layer: Layer) -> dict[str, list[str]]:
        """The relations of a layer by the type whose nodes it computes: `{type: [relation]}`."""
        found: dict[str, list[str]] = {}
        for name in layer.convolutions:
            found.setdefault(self.over[name][0], []).append(name)
        return found

    def _check_types(self, nodes):
        there = set(nodes)
        for number, layer in enumerate(self.layers, 1):
            for name in layer.convolutions:
                if name not in self.over:
                    raise ValueError(
                        f"layer {number} needs edges {name!r} of nodes to their neighbors, there "
                        f"are {sorted(self.over)}"
                    )
                for needed in self.over[name]:
                    if needed not in there:
                        raise ValueError(
                            f"layer {number} needs vectors of {needed!r}, there are those of "
                            f"{sorted(there)}"
                        )
            there = set(self.of(layer))
            for of_type, names in self.of(layer).items():
                if len(names) > 1 and of_type not in layer.combinations:
                    raise ValueError(
                        f"layer {number} has the relations {names} at {of_type!r}, and no "
                        "combination: give save_layers the combinations too"
                    )

    def _check_additive(self):
        for number, layer in enumerate(self.layers, 1):
            for name, convolution in layer.convolutions.items():
                if not convolution.additive:
                    raise ValueError(
                        f"layer {number} of {name!r}, {type(convolution).__name__}, cannot be "
                        "summed in parts: allowed are pools that are weighted means, as of "
                        "SAGEConvolution with Mean() and PinSageConvolution. For others see "
                        "tf_recall.graph.layerwise"
                    )

    def _check_lengths(self):
        dims = {of_type: tables.vector_length(table) for of_type, table in self.nodes.items()}
        for number, layer in enumerate(self.layers, 1):
            for name, convolution in layer.convolutions.items():
                shapes = convolution.get_build_config()["shapes_dict"]
                for shape, of in zip(("vectors_shape", "near_shape"), self.over[name], strict=True):
                    if dims[of] != shapes[shape][-1]:
                        raise ValueError(
                            f"layer {number} of {name!r} was built for vectors of {of!r} of "
                            f"length {shapes[shape][-1]}, and they have {dims[of]}"
                        )
            dims = {
                of_type: _length(layer, names, of_type) for of_type, names in self.of(layer).items()
            }


def relation(key: tuple[str, ...]) -> str:
    """The name of a relation: the third of `(type, type of its neighbors, name)`, or of both types.

    Example:
        >>> relation(("user", "item")), relation(("item", "item", "bought_with"))
        ('user_item', 'bought_with')
    """
    return key[2] if len(key) > 2 else "_".join(key)


def _length(layer, names, of_type):
    """The length of the vectors that a layer gives nodes of a type."""
    size = layer.convolutions[names[0]].dim
    combination = layer.combinations.get(of_type)
    return combination.dim(len(names), size) if combination else size
