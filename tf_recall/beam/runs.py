"""Pipelines and command lines: how they are run, and what they count."""

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from tf_recall.registry import keywords

COUNTERS = "tf_recall"


def counter(name: str) -> Metrics.DelegatingCounter:
    """A counter that runners show while they work."""
    return Metrics.counter(COUNTERS, name)


def with_runner(options: PipelineOptions | None) -> PipelineOptions:
    """The options, with a runner: without one among them all runs in this process, offline."""
    options = PipelineOptions([]) if options is None else options
    if options.view_as(StandardOptions).runner is None:
        options.view_as(StandardOptions).runner = "FnApiRunner"
    return options


def run(build: Callable[[beam.Pipeline], None], options: PipelineOptions) -> dict[str, int]:
    """Runs a pipeline to its end.

    Args:
        build: `build(pipeline)` adds the steps.
        options: with a runner.

    Returns:
        The counters by name, added up over the steps.
    """
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    counted = Counter()  # each step has its own of a name
    for each in result.metrics().query(MetricsFilter().with_namespace(COUNTERS))["counters"]:
        counted[each.key.metric.name] += each.result
    return dict(counted)


def tasks(pipeline: beam.Pipeline, title: str, elements: list) -> beam.PCollection:
    """The elements as a collection, each a task, spread over all workers."""
    return (
        pipeline
        | f"{title}: tasks" >> beam.Create(elements)
        | f"{title}: spread" >> beam.Reshuffle()
    )


def default(function: Callable, name: str) -> Any:
    """The default of an argument, read from the function or class that has it."""
    return keywords(function)[name].default


def command(module: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m tf_recall.beam.<module>`, which leaves Beam's options to Beam."""
    return argparse.ArgumentParser(
        prog=f"python -m tf_recall.beam.{module}",
        description=f"{description} Other options are Beam's, as --runner.",
        allow_abbrev=False,
    )


def add_settings(parser: argparse.ArgumentParser, function: Callable, **helps: str) -> None:
    """Adds an option for each named argument of a function, with its default, a number.

    Args:
        parser: to add to.
        function: that has the arguments.
        helps: the help of each, by the argument's name.
    """
    for name, text in helps.items():
        value = default(function, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(value),
            default=value,
            metavar="N",
            help=f"{text}; {value}.",
        )


def answer(parser: argparse.ArgumentParser, work: Callable[[], dict]) -> None:
    """Prints what `work()` returns as JSON; an error is one line on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tf_recall").setLevel(logging.INFO)
    try:
        print(json.dumps(work()))
    except (ValueError, TypeError, OSError, ImportError) as error:
        parser.exit(1, f"Error: {error}\n")
