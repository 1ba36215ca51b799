"""Apache Beam pipelines over a whole graph, catalog or log, for more data than one machine holds.

`layerwise` computes the vectors of all nodes of a graph, `embed` those of a whole catalog,
`item_cf` and `swing` the items most similar to each. They read and write Parquet on any file system
that Beam knows, run on any of its runners, and continue where an interrupted run stopped.

Methods `process` have no annotations: Beam would take them for types to check while it runs.
"""

try:
    import apache_beam  # noqa: F401  so that one error names what is missing
except ImportError as error:
    raise ImportError(
        "tf_recall.beam runs on Apache Beam: pip install 'tf-recall[beam]'"
    ) from error
