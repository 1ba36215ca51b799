"""The commands `tf-recall update`, `rollback` and `versions`."""

from typing import Any

import click


@click.argument("model")
@click.argument("log")
@click.option("--incremental", is_flag=True, help="Train the vectors of user ids alone.")
@click.option("--items", metavar="FILE", help="A table that describes new items.")
@click.option("--users", metavar="FILE", help="A table that describes new users.")
@click.option("--epochs", type=int, help="How often the log is gone through; by default once.")
@click.option(
    "--margin",
    type=float,
    help="By which share the new version may be worse on the log's latest events; by default 0.02.",
)
def update(
    model: str,
    log: str,
    incremental: bool,
    items: str | None,
    users: str | None,
    **settings: Any,
) -> dict:
    """Learn LOG, a file or a folder, with the exported MODEL, and publish its next version.

    A version that is worse than the current one on the latest events of LOG is not published: the
    exit code is 3, and the JSON says why. After kill -9 run the same command again: it goes on, and
    a log that was learned already is not learned twice.
    """
    from tf_recall.updates.update import update

    given = {name: value for name, value in settings.items() if value is not None}
    answer = update(model, log, incremental, items, users, **given)
    for reason in answer.get("refused", ()):
        click.echo(f"refused: {reason}")
    return answer


@click.argument("model")
@click.option("--undo", is_flag=True, help="Bring back what was rolled back.")
def rollback(model: str, undo: bool) -> dict:
    """Make the version before the newest of MODEL the newest again; servers follow.

    The newest is renamed to withdrawn.<version>, and stays on disk.
    """
    from tf_recall.export import versions

    if undo:
        return {"model": str(versions.reinstate(model))}
    newest, aside = versions.withdraw(model)
    return {"model": str(newest), "withdrawn": str(aside)}


@click.argument("model")
def versions(model: str) -> dict:
    """List the versions of MODEL: what each was made of, when, by whom, and out of which."""
    from tf_recall.updates.history import history

    found = history(model)
    for each in found:
        click.echo(
            f"{each['version']:>5}{' (withdrawn)' if each['withdrawn'] else ''}  "
            f"{each.get('made', {}).get('when', '?')}  by {each.get('made', {}).get('by', '?')}  "
            f"from {(each.get('parent') or {}).get('version', 'nothing')}"
        )
    return {"versions": found}
