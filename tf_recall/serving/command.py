"""The command `tf-recall serve`: its options, and what it prints."""

import json
import sys

import click


@click.argument("folder", default="saved_models")
@click.option(
    "--models-config", "config", metavar="FILE", help="The models to serve, instead of FOLDER's."
)
@click.option("--ui", is_flag=True, help="A page to look at the models, at /ui.")
@click.option(
    "--items",
    metavar="FILE",
    help="Titles and columns of items, by item_id, for exports that bring none.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--rest-port", type=int, default=8501, show_default=True, help="0: a free one.")
@click.option("--grpc-port", type=int, default=8500, show_default=True, help="0: a free one.")
@click.option(
    "--api-key",
    envvar="TF_RECALL_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="What requests must bring: Authorization: Bearer KEY.",
)
@click.option(
    "--redis",
    envvar="TF_RECALL_REDIS",
    show_envvar=True,
    metavar="URL",
    help="Where tf-recall lists and vectors put what is computed before, by the model's name.",
)
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="MODEL=ADDRESS",
    help="A live store that a model answers users from, as tf-recall index push filled it.",
)
@click.option("--tls-cert", metavar="FILE", help="A certificate in PEM; with --tls-key.")
@click.option("--tls-key", metavar="FILE", help="Its private key.")
@click.option(
    "--poll", type=float, default=1.0, show_default=True, metavar="SECONDS", help="Between looks."
)
@click.option(
    "--timeout",
    type=float,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a request may take at most.",
)
@click.option("--batch", type=int, default=64, show_default=True, help="Rows answered in one call.")
@click.option("--queue", type=int, default=4096, show_default=True, help="Rows that may wait.")
@click.option(
    "--experiments", metavar="FILE", help="Experiments, by which /recommend answers users."
)
@click.option(
    "--log-level",
    type=click.Choice(["INFO", "WARNING", "ERROR"]),
    default="INFO",
    show_default=True,
    help="INFO has a line for each request.",
)
def serve(
    folder: str,
    config: str | None,
    ui: bool,
    items: str | None,
    host: str,
    rest_port: int,
    grpc_port: int,
    api_key: str | None,
    redis: str | None,
    stores: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    poll: float,
    timeout: float,
    batch: int,
    queue: int,
    experiments: str | None,
    log_level: str,
) -> dict:
    """Serve the exports in FOLDER: TensorFlow Serving's REST and gRPC, and a page at /docs.

    Once it answers it prints a JSON object with its addresses. New versions are picked up, and the
    ones before let go, without a request lost. SIGTERM and Ctrl-C end it when requests are
    answered. Logs are JSON on standard error.
    """
    try:
        import asyncio
        import gc

        from tf_recall.serving.limits import Limits
        from tf_recall.serving.logs import log_as_json
        from tf_recall.serving.server import Server, Settings, event_loop
        from tf_recall.stores.places import by_model
    except ImportError as error:
        raise ImportError(
            f"serving needs {error.name}, which is not installed: pip install 'tf_recall[serve]'"
        ) from error
    server = Server(
        Settings(
            folder,
            config,
            host,
            rest_port,
            grpc_port,
            api_key,
            tls_cert,
            tls_key,
            Limits(timeout=timeout, batch=batch, queue=queue),
            poll,
            redis,
            by_model(stores),
            ui,
            items,
            experiments,
        )
    )
    log_as_json(log_level)

    def ready():
        # standard output is kept for results, and this is one
        addresses = {"rest": server.rest, "grpc": server.grpc, "page": f"{server.rest}/docs"}
        if ui:
            addresses["ui"] = f"{server.rest}/ui"
        print(json.dumps(addresses), file=sys.__stdout__, flush=True)

    gc.freeze()  # what is loaded by now stays: letting a version go need not look through it
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        runner.run(server.run(ready))
    return {"stopped": True}
