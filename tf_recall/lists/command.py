"""The commands `tf-recall lists` and `tf-recall vectors`: what is computed before it is asked."""

import time

import click


@click.argument("model")
@click.option("--out", required=True, metavar="FILE", help="The Parquet file to write.")
@click.option(
    "-k", type=int, help="How many items at most; by default 100, or all where there are fewer."
)
@click.option(
    "--seen/--no-seen",
    default=False,
    show_default=True,
    help="Whether lists contain items that the user has seen.",
)
@click.option(
    "--users",
    default="all",
    show_default=True,
    metavar="FILE",
    help="A table with a column user_id: the users to write lists for.",
)
@click.option("--redis", "url", metavar="URL", help="Load the lists into this server too.")
@click.option("--name", help="What the lists are called in Redis.")
@click.option(
    "--ttl",
    type=float,
    metavar="SECONDS",
    help="How long Redis keeps them, from the start of the load.",
)
def lists(
    model: str,
    out: str,
    k: int | None,
    seen: bool,
    users: str,
    url: str | None,
    name: str | None,
    ttl: float | None,
) -> dict:
    """Write the recommendations of the exported MODEL to Parquet and to Redis.

    They are for all its users, or for those of a file.
    """
    from tf_recall.data.names import check_name
    from tf_recall.export.load import load
    from tf_recall.lists.redis_load import to_redis
    from tf_recall.lists.redis_store import connect
    from tf_recall.lists.write import write_lists

    if url is None and (name is not None or ttl is not None):
        raise ValueError("--name and --ttl are for Redis: they go with --redis")
    if url is not None and name is None:
        raise ValueError("--redis needs a --name for the lists")
    if url is not None:
        check_name("--name", name)
        connect(url)  # fails before the work
    recommender = load(model)
    k = min(100, recommender.k_max) if k is None else k
    ids = _wanted(recommender, users, model)
    start = time.perf_counter()
    path = write_lists(recommender, ids, out, k, exclude_seen=not seen)
    answer = {
        "lists": str(path),
        "users": len(ids),
        "k": k,
        "users_per_second": _rate(len(ids), start),
    }
    answer |= _unknown(recommender, ids)
    if url is not None:
        start = time.perf_counter()
        count = to_redis(path, url, name, ttl)
        answer["redis"] = {"name": name, "users": count, "users_per_second": _rate(count, start)}
    return answer


@click.argument("model")
@click.option("--redis", "url", required=True, metavar="URL", help="The server to load them into.")
@click.option("--name", help="The model's name on the server; by default that of its folder.")
@click.option(
    "--users",
    default="all",
    show_default=True,
    metavar="FILE",
    help="A table with a column user_id: the users to embed.",
)
@click.option("--ttl", type=float, metavar="SECONDS", help="How long Redis keeps them.")
def vectors(model: str, url: str, name: str | None, users: str, ttl: float | None) -> dict:
    """Load the vectors of users of the exported MODEL into Redis, for a server of this export."""
    from tf_recall.export.load import load
    from tf_recall.export.versions import version_folder
    from tf_recall.lists.redis_store import connect
    from tf_recall.lists.redis_vectors import vectors_to_redis

    connect(url)  # fails before the work
    name = version_folder(model).absolute().parent.name if name is None else name
    recommender = load(model)
    ids = _wanted(recommender, users, model)
    start = time.perf_counter()
    count = vectors_to_redis(recommender, ids, url, name, ttl)
    answer = {"name": name, "users": count, "users_per_second": _rate(count, start)}
    return {**answer, **_unknown(recommender, ids)}


def _wanted(recommender, users, model):
    from tf_recall.lists.users import users_of

    if users != "all":
        return users_of(recommender, users)
    if recommender.catalog is None:
        raise ValueError(f"{model} was exported without its users: give --users FILE")
    return recommender.catalog.users.ids


def _unknown(recommender, ids):
    """How many users the model does not know, where it can tell and there are such."""
    known = recommender.knows("user_id", ids)
    if known is None or known.all():
        return {}
    number, first = int((~known).sum()), ids[~known][0]
    click.echo(f"{number} of {len(ids)} users are unknown to the model, the first: {first}")
    return {"unknown_users": number}


def _rate(count, start):
    return round(count / (time.perf_counter() - start))
