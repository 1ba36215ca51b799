"""Running a pipeline wherever its options say, and what it counted."""

import argparse
import json
import logging
import sys
from collections import Counter

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

COUNTERS = "tf_recall"


def counter(name: str):
    """A counter that runners show while they work."""
    return Metrics.counter(COUNTERS, name)


def settled(options: PipelineOptions | None) -> PipelineOptions:
    """The options; where they name no runner, everything runs in this process, and no network is
    asked for one.
    """
    options = PipelineOptions([]) if options is None else options
    if options.view_as(StandardOptions).runner is None:
        options.view_as(StandardOptions).runner = "FnApiRunner"
    return options


def run(build, options: PipelineOptions) -> dict[str, int]:
    """Runs what `build(pipeline)` adds to a pipeline, to its end; the counters by name, added up
    over the steps.
    """
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    counted = Counter()  # each step has its own of a name
    for each in result.metrics().query(MetricsFilter().with_namespace(COUNTERS))["counters"]:
        counted[each.key.metric.name] += each.result
    return dict(counted)


def pieces(pipeline, title: str, elements: list):
    """Pieces of work, dealt out to all workers."""
    return (
        pipeline
        | f"{title}: pieces" >> beam.Create(elements)
        | f"{title}: deal out" >> beam.Reshuffle()
    )


def command(module: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m tf_recall.beam.<module>`, which leaves Beam's options to Beam."""
    return argparse.ArgumentParser(
        prog=f"python -m tf_recall.beam.{module}",
        description=f"{description} Other options are Beam's, as --runner.",
        allow_abbrev=False,
    )


def answer(parser: argparse.ArgumentParser, work) -> None:
    """Prints what `work()` says as JSON; progress goes to standard error, and a mistake is one
    line.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tf_recall").setLevel(logging.INFO)
    try:
        print(json.dumps(work()))
    except (ValueError, TypeError, OSError, ImportError) as error:
        parser.exit(1, f"Error: {error}\n")
