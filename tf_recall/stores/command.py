"""`tf-recall index push`: the command."""

import click


@click.argument("model")
@click.argument("store")
@click.option(
    "--items", metavar="FILE", help="A table with item_id and columns to narrow searches by."
)
def push(model: str, store: str, items: str | None) -> dict:
    """Fill STORE with the item vectors of the exported MODEL, in place of what it holds.

    STORE is faiss-flat:FOLDER, faiss-hnsw:FOLDER, faiss-ivf:FOLDER, scann:FOLDER,
    milvus:FILE.db#NAME or milvus:http://host:19530#NAME.
    """
    from tf_recall.stores import push as pushing

    return pushing.push(model, store, items)
