"""`tf-recall experiments`: check a plan, look up arms, compare them, or guess without one."""

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
@click.option(
    "--outcomes",
    metavar="TABLE",
    help="What users did, with the metrics; LOG is then what a server logged, lines of JSON.",
)
@click.option("--covariate", metavar="COLUMN", help="The same of a user before it began (CUPED).")
@click.option("--confidence", type=float, default=0.95, show_default=True, metavar="SHARE")
def analyze(
    file: str,
    log: str,
    experiment: str | None,
    metrics: Sequence[str],
    outcomes: str | None,
    covariate: str | None,
    confidence: float,
) -> dict:
    """Compare the arms of an experiment in FILE by LOG: lifts, their intervals, what is odd.

    LOG is CSV or Parquet with user_id, the metrics and, if it was logged, arm (and experiment); a
    line for each exposure or event. Or, with --outcomes, it is the log of `tf-recall serve`, a file
    or a folder of them: who was answered by which arm counts, with what TABLE, CSV or Parquet with
    user_id, the metrics and maybe timestamp, says they did since. Users are who is compared, not
    lines.
    """
    from tf_recall.data.tables import read
    from tf_recall.experiments import analysis
    from tf_recall.experiments.exposures import read_exposures, with_outcomes
    from tf_recall.experiments.file import read_plan

    plan = read_plan(file)
    if experiment is None:
        names = [*plan.experiments, *plan.rollouts] or ["holdout"]
        if len(names) > 1:
            raise ValueError(f"say which --experiment; there are: {', '.join(names)}")
        experiment = names[0]
    if outcomes is None:
        table = read(log, {"user_id"})
    else:
        columns = dict.fromkeys(part for metric in metrics for part in metric.split("/"))
        did = read(outcomes, {"user_id"})
        table = with_outcomes(read_exposures(log), experiment, did, list(columns))
    report = analysis.analyze(plan, experiment, table, metrics, covariate, confidence)
    click.echo(f"\n{report}\n")
    return report.to_dict()


@click.argument("model")
@click.argument("log")
@click.option("-k", type=int, default=10, show_default=True, help="How long its lists are.")
@click.option(
    "--seen/--no-seen",
    default=False,
    show_default=True,
    help="Whether lists contain items that the user has seen.",
)
def replay(model: str, log: str, k: int, seen: bool) -> dict:
    """Estimate the click rate of the exported MODEL from what others showed, without a test.

    LOG is CSV or Parquet with user_id, item_id, clicked, and propensity: how probable it was that
    this item was shown; maybe position, from 1.
    """
    from tf_recall.data.tables import read
    from tf_recall.evaluation.logged import evaluate_logged
    from tf_recall.export.load import load

    found = evaluate_logged(load(model), read(log, {"user_id", "item_id"}), k, not seen)
    click.echo(f"\n{found}\n")
    return {**vars(found), "warning": found.warning, "model": model}


def add_to(commands: click.Group, answers_json: Callable[[Callable], Callable]) -> None:
    """Adds the group `experiments` to a command line, whose commands answer as others do."""

    @commands.group()
    def experiments() -> None:
        """Experiments on users: who is in which arm, and what it changed."""

    for each in (check, assign, analyze, replay):
        experiments.command()(answers_json(each))
