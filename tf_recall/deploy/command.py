"""`tf-recall deploy`: the command."""

import click


@click.argument("folder", default="saved_models")
@click.option("--out", default="deploy", show_default=True, metavar="DIR", help="Where to write.")
def deploy(folder: str, out: str) -> dict:
    """Write what runs the exports in FOLDER in containers: Compose and Kubernetes.

    Exports of stock operations go to TensorFlow Serving, those with ScaNN and several channels to
    `tf-recall serve`; the README that is written says which goes where and why. Files of an earlier
    run are replaced, others are never.
    """
    from tf_recall.deploy import files

    made = files.deploy(folder, out)
    for name, server in made["models"].items():
        click.echo(f"{name}: {server}, {made['why'][name]}")
    return made
