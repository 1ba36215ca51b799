"""The command line `tf-recall`: the last line on standard output is a JSON object.

Logs and progress go to standard error.
"""

import contextlib
import functools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence

import click

from tf_recall.config import MODELS, SEARCHES, Config, apply
from tf_recall.deploy.command import deploy
from tf_recall.registry import REGISTRY
from tf_recall.serving.command import serve
from tf_recall.stores.command import push

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start-up notes do not help a user

SET = click.option(
    "--set", "sets", multiple=True, metavar="A.B=C", help="Change one value of the config."
)
OUT = click.option(
    "--out", default=MODELS, show_default=True, metavar="DIR", help="The model repository."
)
IDS = {"multiple": True, "metavar": "ID,ID"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tf_recall")
def main() -> None:
    """Candidate retrieval: from a table of interactions to a served index."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tf_recall").setLevel(logging.INFO)


def answers_json(command: Callable[..., dict]) -> Callable[..., None]:
    """Makes a command print its result as JSON on standard output, and an error as one line.

    Everything else goes to standard error.
    """

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = command(*args, **kwargs)
        except (ValueError, OSError, ImportError, MemoryError) as error:
            line = " ".join(str(error).split("\n")) or type(error).__name__
            raise click.ClickException(line) from error
        except KeyboardInterrupt as stop:
            stopped = click.ClickException(str(stop) or "interrupted")
            stopped.exit_code = 130  # as shells have it
            raise stopped from None
        click.echo(json.dumps(result, default=str))

    return wrapped


@main.command()
@OUT
@SET
@answers_json
def quickstart(out: str, sets: Sequence[str]) -> dict:
    """Train, evaluate, export and query a two-tower model on embedded data."""
    from tf_recall.export.load import load

    trained = _train("two_tower_quickstart", sets, out)
    catalog = trained.service.catalog
    user = "u1"
    recommender = load(trained.path)
    items, scores = recommender.recommend([user], k=min(5, recommender.k_max), exclude_seen=True)
    titles = catalog.item_table["title"][catalog.items.encode(items[0]) - 1]
    click.echo(f"{user} has not seen, and may like:")
    for item, title in zip(items[0], titles, strict=True):
        click.echo(f"  {item:<8}{title}")
    click.echo(f"the model: {trained.path}")
    click.echo(f"query it:  tf-recall query {trained.path} --user-id u2")
    return {
        **trained.summary(),
        "query": {"user_id": user, **_kept("item_id", items[0], scores[0])},
    }


@main.command()
@click.argument("config")
@OUT
@SET
@click.option(
    "--resume",
    is_flag=True,
    help="Continue from the checkpoints of an interrupted run, or with an export that failed.",
)
@click.option("--tensorboard", metavar="DIR", help="Write TensorBoard logs.")
@answers_json
def train(
    config: str, out: str, sets: Sequence[str], resume: bool, tensorboard: str | None
) -> dict:
    """Train CONFIG, a YAML file or the name of one that comes with the package, and export."""
    return _train(config, sets, out, resume, tensorboard).summary()


def _train(config, sets, out, resume=False, tensorboard=None):
    from tf_recall.runs.run import train

    trained = train(Config.load(config, sets), out, resume, tensorboard)
    click.echo(f"\n{trained.report}\n")
    return trained


@main.command()
@click.argument("config")
@click.option("--trials", type=int, help="How many trials the study should have; by default 30.")
@click.option("--minutes", type=float, help="How long trials are begun; or both, what ends first.")
@click.option("--jobs", type=int, default=1, show_default=True, help="How many processes search.")
@click.option(
    "--out", default=SEARCHES, show_default=True, metavar="DIR", help="Where searches are kept."
)
@SET
@click.option("--resume", is_flag=True, help="Go on with the study of an earlier search.")
@answers_json
def tune(
    config: str,
    trials: int | None,
    minutes: float | None,
    jobs: int,
    out: str,
    sets: Sequence[str],
    resume: bool,
) -> dict:
    """Search for a better CONFIG: what may change its parts declare, and its section `tune`.

    The best config is written as YAML that `train` takes, beside a table of trials and plots.
    """
    from tf_recall.tuning.tune import tune

    tuned = tune(Config.load(config, sets), trials, minutes, jobs, out, resume)
    click.echo(f"\n{tuned}\n")
    click.echo(f"train it:  tf-recall train {tuned.path}")
    return tuned.summary()


@main.command()
@click.argument("model")
@click.argument("config")
@SET
@answers_json
def evaluate(model: str, config: str, sets: Sequence[str]) -> dict:
    """Evaluate the exported MODEL on the test part of CONFIG, compared with popularity."""
    from tf_recall.runs import run

    report = run.evaluate(Config.load(config, sets), model)
    click.echo(f"\n{report}\n")
    return {**report.to_dict(), "model": model}


@main.command()
@click.argument("model")
@click.option(
    "--index",
    "name",
    default="ivf",
    show_default=True,
    help=f"One of {', '.join(REGISTRY['index'])}.",
)
@OUT
@click.option("--set", "sets", multiple=True, metavar="A=B", help="A setting of the index.")
@answers_json
def export(model: str, name: str, out: str, sets: Sequence[str]) -> dict:
    """Export a trained MODEL again, with another index, as <OUT>/<its name>_<index>."""
    from tf_recall.runs.run import reindex

    index = {"name": name}
    for change in sets:
        apply(index, change)
    return {"model": str(reindex(model, index, out))}


@main.command()
@click.argument("model")
@click.option("--user-id", "users", **IDS, help="Users to query for.")
@click.option("--item-id", "items", **IDS, help="Or: items to find similar items of.")
@click.option("-k", type=int, help="How many items; by default 10, or all where there are fewer.")
@click.option("--exclude", **IDS, help="Items to filter out.")
@click.option("--allow", **IDS, help="The only items to choose from.")
@click.option(
    "--history", **IDS, help="Items the user interacted with, where the model takes a history."
)
@click.option(
    "--seen/--no-seen",
    default=None,
    help="Whether to recommend items that the user has seen; by default not.",
)
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME=VALUE",
    help="A feature of the user, the context or the item.",
)
@answers_json
def query(
    model: str,
    users: Sequence[str],
    items: Sequence[str],
    k: int | None,
    seen: bool | None,
    features: Sequence[str],
    **lists: Sequence[str],
) -> dict:
    """Get recommendations for users from the exported MODEL, and why; or similar items.

    Options of ids may be repeated, and take several with commas between them; an id with a comma
    stands in double quotes: --exclude '"a,b",c'. Ids that the model does not know are reported.
    """
    from tf_recall.export.load import load
    from tf_recall.recommend.typed import typed_features, typed_ids, unknown_of

    if bool(users) == bool(items):
        raise ValueError("query takes --user-id or --item-id, one of the two and not both")
    if items and seen is not None:
        raise ValueError(
            "--seen and --no-seen are for users: they go with --user-id, not with --item-id"
        )
    request = typed_features(features)
    recommender = load(model)
    if items and not recommender.answers_items:
        raise ValueError(f"{model} answers users, not items: give --user-id")
    k = min(10, recommender.k_max) if k is None else k
    for name, texts in lists.items():
        if texts:
            request[name] = typed_ids(f"--{name}", texts, recommender.id_types["item_id"])
    if items:
        ids = typed_ids("--item-id", items, recommender.id_types["item_id"])
        unknown = unknown_of(recommender.request_for_items, ids, request)
        answers = recommender.similar(ids, k, **request)
        key = "item_id"
        column = "similar"
    else:
        ids = typed_ids("--user-id", users, recommender.id_types["user_id"])
        request["exclude_seen"] = not seen
        unknown = unknown_of(recommender.request_for_users, ids, request)
        answers = recommender.recommend(ids, k, **request)
        key = "user_id"
        column = "item_id"
    for name, values in unknown.items():
        click.echo(f"{name} is unknown to the model: {', '.join(map(str, values))}")
    answers = [
        {key: one, **_kept(column, *answer)} for one, *answer in zip(ids, *answers, strict=True)
    ]
    if users and recommender.explains:
        for answer in answers:
            user = answer["user_id"]
            answer["why"] = [
                recommender.explain(user, item, **request) for item in answer["item_id"]
            ]
    answer = answers[0] if len(answers) == 1 else {"answers": answers}
    return {**answer, "unknown": unknown} if unknown else answer


@main.command()
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
@answers_json
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
    from tf_recall.lists.users import users_of
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
    if users == "all" and recommender.catalog is None:
        raise ValueError(f"{model} was exported without its users: give --users FILE")
    ids = recommender.catalog.users.ids if users == "all" else users_of(recommender, users)
    start = time.perf_counter()
    path = write_lists(recommender, ids, out, k, exclude_seen=not seen)
    answer = {
        "lists": str(path),
        "users": len(ids),
        "k": k,
        "users_per_second": _rate(len(ids), start),
    }
    known = recommender.knows("user_id", ids)
    if known is not None and not known.all():
        answer["unknown_users"] = int((~known).sum())
        click.echo(
            f"{answer['unknown_users']} of {len(ids)} users are unknown to the model, the first: "
            f"{ids[~known][0]}"
        )
    if url is not None:
        start = time.perf_counter()
        count = to_redis(path, url, name, ttl)
        answer["redis"] = {"name": name, "users": count, "users_per_second": _rate(count, start)}
    return answer


@main.command()
@click.argument("config")
@click.option("--model", help="Also check the answers of this exported model.")
@SET
@answers_json
def doctor(config: str, model: str | None, sets: Sequence[str]) -> dict:
    """Check data and model for mistakes: leakage, duplicates, unscaled numbers, equal answers."""
    from tf_recall.runs.run import diagnose

    findings = diagnose(Config.load(config, sets), model)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} finding(s)")
    return {"findings": [vars(finding) for finding in findings]}


main.command()(answers_json(serve))
main.command()(answers_json(deploy))


@main.group()
def index() -> None:
    """Live stores of vectors, beside the indexes inside exports."""


index.command()(answers_json(push))


def _rate(count, start):
    return round(count / (time.perf_counter() - start))


def _kept(column, items, scores):
    """The items of an answer under `column` and their scores, without the padding."""
    kept = [
        (item, float(score))
        for item, score in zip(items.tolist(), scores, strict=True)
        if score > float("-inf")
    ]
    return {column: [item for item, _ in kept], "score": [score for _, score in kept]}


if __name__ == "__main__":
    main()
