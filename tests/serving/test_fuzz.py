"""The OpenAPI description against the server: schemathesis finds no failure, whatever it sends."""

import collections

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies

schemathesis = pytest.importorskip("schemathesis")

EXAMPLES = 40  # of each operation
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]
PEOPLE = {"/recommend": {"user_id": "u1"}, "/similar": {"item_id": "i1"}}
ANY = ("version", "label", "channel")


def made_known(case, path):
    """Points a request at what there is, else all of them end at an unknown model."""
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "two_tower"
    if path in PEOPLE and isinstance(case.body, dict):
        rest = {name: value for name, value in case.body.items() if name not in ANY}
        case.body = {**rest, "model": "two_tower", **PEOPLE[path]}


def fuzz(operation, server, seen):
    """Sends requests to one operation, and counts the answers."""
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]

    @given(case=operation.as_strategy(), known=strategies.booleans())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case, known):
        if known:
            made_known(case, operation.path)
        answer = case.call_and_validate(base_url=server.rest, checks=checks, timeout=30)
        seen[operation.path, answer.status_code] += 1

    send()


def test_nothing_that_is_sent_breaks_the_server(server):
    schema = schemathesis.openapi.from_url(f"{server.rest}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    seen = collections.Counter()
    for operation in operations:
        fuzz(operation, server, seen)
    assert len({path for path, _ in seen}) == len(operations) >= 8
    assert all(seen[path, 200] and seen[path, 400] for path in PEOPLE), seen
