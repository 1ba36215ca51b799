"""Work on a whole graph, catalog or log as Apache Beam pipelines, for those who outgrow one
machine.

`layerwise` computes the vectors of all nodes of a graph, `embed` those of a whole catalog,
`item_cf` and `swing` the items most similar to each. They read and write Parquet on any file system
that Beam knows, run on any of its runners, and go on where an interrupted run stopped.
"""

try:
    import apache_beam  # noqa: F401  the one place that says what is missing
except ImportError as error:
    raise ImportError(
        "tf_recall.beam runs on Apache Beam: pip install 'tf-recall[beam]'"
    ) from error
