"""The inputs of layer-by-layer inference, checked before anything runs."""

import re

from tf_recall.beam import tables

NAME = re.compile(r"[\w.-]+")


class Plan:
    """The tables and layers of a run, which fit together.

    Attributes:
        layers: `[{type: convolution}]`.
        over: `{type: type of its neighbors}`.
        nodes, edges: `{type: Table}`, the edges by the type of their sources.
        num_shards: `{type: number}`.

    Args and Raises: as `tf_recall.beam.layerwise.layerwise`.
    """

    def __init__(self, nodes: dict, edges: dict, layers: list[dict], rows_per_shard: int):
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
        for of_type, near in edges:
            if of_type in self.over:
                raise ValueError(
                    f"{of_type!r} has neighbors of the types {self.over[of_type]!r} and {near!r}; "
                    "it may have one"
                )
            self.over[of_type] = near
        self._check_types(nodes)
        self._check_additive()
        self.nodes = {of_type: tables.nodes(pattern, of_type) for of_type, pattern in nodes.items()}
        self.edges = {pair[0]: tables.edges(pattern, pair) for pair, pattern in edges.items()}
        self._check_lengths()
        self.num_shards = {
            of_type: -(-table.rows // rows_per_shard) for of_type, table in self.nodes.items()
        }

    def fingerprint(self) -> dict:
        """What the result depends on: `{name: fingerprint of the table}`."""
        nodes = {
            f"nodes of {of_type!r}": table.fingerprint() for of_type, table in self.nodes.items()
        }
        edges = {
            f"edges of {each!r} to {self.over[each]!r}": self.edges[each].fingerprint()
            for each in self.edges
        }
        return nodes | edges

    def _check_types(self, nodes):
        there = set(nodes)
        for number, layer in enumerate(self.layers, 1):
            for of_type in layer:
                if of_type not in self.over:
                    pairs = sorted(self.over.items())
                    raise ValueError(
                        f"layer {number} needs edges of {of_type!r} to its neighbors, there are "
                        f"{pairs}"
                    )
                for needed in (of_type, self.over[of_type]):
                    if needed not in there:
                        raise ValueError(
                            f"layer {number} needs vectors of {needed!r}, there are those of "
                            f"{sorted(there)}"
                        )
            there = set(layer)

    def _check_additive(self):
        for number, layer in enumerate(self.layers, 1):
            for of_type, convolution in layer.items():
                if not convolution.additive:
                    raise ValueError(
                        f"layer {number} of {of_type!r}, {type(convolution).__name__}, cannot be "
                        "summed in parts: allowed are pools that are weighted means, as of "
                        "SAGEConvolution with Mean() and PinSageConvolution. For others see "
                        "tf_recall.graph.layerwise"
                    )

    def _check_lengths(self):
        dims = {of_type: tables.vector_length(table) for of_type, table in self.nodes.items()}
        for number, layer in enumerate(self.layers, 1):
            for of_type, convolution in layer.items():
                shapes = convolution.get_build_config()["shapes_dict"]
                for name, of in (("vectors_shape", of_type), ("near_shape", self.over[of_type])):
                    if dims[of] != shapes[name][-1]:
                        raise ValueError(
                            f"layer {number} of {of_type!r} was built for vectors of {of!r} of "
                            f"length {shapes[name][-1]}, and they have {dims[of]}"
                        )
            dims = {of_type: convolution.dim for of_type, convolution in layer.items()}
