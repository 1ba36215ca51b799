"""`tf-recall experiments`: check a plan, look up arms, compare them."""

import csv
from collections.abc import Callable, Sequence

import click


@click.argument("file")
@click.option(
    "--models", metavar="DIR", help="Exports: that every version which the plan names is there."
)
def check(file: str, models: str | None) -> dict:
    """Check the experiments in FILE for overlaps; tell what runs now, and what is free."""
    from datetime import UTC, datetime

    from tf_recall.experiments.file import read_plan
    from tf_recall.experiments.overview import missing_in, overview

    plan = read_plan(file)
    if models is not None and (missing := missing_in(plan, models)):
        raise ValueError(f"{file}: {missing}")
    return overview(plan, datetime.now(UTC))


@click.argument("file")
@click.option(
    "--user-id", "users", multiple=True, required=True, metavar="ID,ID", help="Whose arms."
)
@click.option("--at", metavar="TIME", help="When, as in the file; by default now.")
def assign(file: str, users: Sequence[str], at: str | None) -> dict:
    """Tell which arms of the experiments in FILE users are in, and what answers them."""
    from tf_recall.experiments.file import moment, read_plan

    plan, when = read_plan(file), moment(at, "--at")
    ids = [each for line in csv.reader(users, skipinitialspace=True) for each in line]
    return {"users": [{"user_id": each, **plan.assign(each, when)} for each in ids]}


@click.argument("file")
@click.argument("log")
@click.option(
    "--experiment", metavar="NAME", help="Which; by default the only one. 'holdout' for that."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    required=True,
    metavar="COLUMN",
    help="A column, summed by user; or clicks/impressions, a ratio of two.",
)
@click.option("--covariate", metavar="COLUMN", help="The same of a user before it began (CUPED).")
@click.option("--confidence", type=float, default=0.95, show_default=True, metavar="SHARE")
def analyze(
    file: str,
    log: str,
    experiment: str | None,
    metrics: Sequence[str],
    covariate: str | None,
    confidence: float,
) -> dict:
    """Compare the arms of an experiment in FILE by LOG: lifts, their intervals, what is odd.

    LOG is CSV or Parquet with user_id, the metrics and, if it was logged, arm (and experiment); a
    line for each exposure or event. Users are who is compared, not lines.
    """
    from tf_recall.data.tables import read
    from tf_recall.experiments import analysis
    from tf_recall.experiments.file import read_plan

    plan = read_plan(file)
    if experiment is None:
        names = [*plan.experiments, *plan.rollouts] or ["holdout"]
        if len(names) > 1:
            raise ValueError(f"say which --experiment; there are: {', '.join(names)}")
        experiment = names[0]
    table = read(log, {"user_id"})
    report = analysis.analyze(plan, experiment, table, metrics, covariate, confidence)
    click.echo(f"\n{report}\n")
    return report.to_dict()


def add_to(commands: click.Group, answers_json: Callable[[Callable], Callable]) -> None:
    """Adds the group `experiments` to a command line, whose commands answer as others do."""

    @commands.group()
    def experiments() -> None:
        """Experiments on users: who is in which arm, and what it changed."""

    for each in (check, assign, analyze):
        experiments.command()(answers_json(each))
