"""`tf-recall deploy`: the command."""

import click


@click.argument("folder", default="saved_models")
@click.option("--out", default="deploy", show_default=True, metavar="DIR", help="Where to write.")
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="MODEL=ADDRESS",
    help="A live store that a model answers users from, as of tf-recall serve.",
)
@click.option("--redis", metavar="URL", help="Where users' lists and vectors are.")
def deploy(folder: str, out: str, stores: tuple[str, ...], redis: str | None) -> dict:
    """Write what runs the exports in FOLDER in containers: Compose and Kubernetes.

    Exports of stock operations go to TensorFlow Serving; those with ScaNN, with several channels,
    with a live store, and all where there is a Redis, to `tf-recall serve`; the README that
    is written says which goes where and why. Files of an earlier run are replaced, others are
    never. A Redis address with a password is written to no file: it is asked for when it runs.
    """
    from tf_recall.deploy import files
    from tf_recall.stores.places import by_model

    made = files.deploy(folder, out, by_model(stores), redis)
    for name, server in made["models"].items():
        click.echo(f"{name}: {server}, {made['why'][name]}")
    return made
