"""The plain endpoint of a real server: defaults, reasons, and errors in a sentence."""

import json
import re
from pathlib import Path

import numpy as np
import pytest


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def test_a_user_gets_what_they_have_not_seen(http, loaded):
    answer = http.post("/recommend", json={"model": "two_tower", "user_id": "u1", "k": 3}).json()
    items, scores = loaded.recommend(["u1"], k=3, exclude_seen=True)
    assert ids(answer) == items[0].tolist() and (answer["model"], answer["version"]) == (
        "two_tower",
        1,
    )
    np.testing.assert_allclose([item["score"] for item in answer["items"]], scores[0], rtol=1e-5)
    assert answer["unknown"] == {} and "why" not in answer["items"][0]


def test_the_example_of_the_manual(http):
    page = (Path(__file__).parents[2] / "saved_models" / "README.md").read_text()
    (body, path) = re.search(r"curl --json '([^']+)' localhost:8501(/\w+)`", page).groups()
    answer = http.post(path, content=body, headers={"content-type": "application/json"}).json()
    assert len(answer["items"]) > 1


def test_lists_and_features_count(http, loaded):
    given = {"exclude": ["i1", "i99"], "allow": ["i1", "i2", "i3"], "exclude_seen": False}
    context = {"device": "phone", "age": 31}
    request = {"model": "two_tower", "context": context, "k": 5, **given}
    answer = http.post("/recommend", json=request).json()
    items, _ = loaded.recommend([""], k=5, **given, **context)
    assert ids(answer) == [item for item in items[0].tolist() if item]  # without padding
    assert answer["unknown"] == {"exclude": ["i99"]}


def test_reasons_are_those_of_the_recommender(http, loaded, several):
    for model, recommender in (("two_tower", loaded), ("several", several)):
        request = {"model": model, "user_id": "u1", "k": 2, "explain": True}
        for item in http.post("/recommend", json=request).json()["items"]:
            assert item["why"] == recommender.explain("u1", item["item_id"], exclude_seen=True)


def test_a_merge_tells_ranks_and_a_channel_answers_alone(http, several):
    request = {"model": "several", "history": ["i3", "i5"], "k": 4}
    answer = http.post("/recommend", json=request).json()
    items, _, ranks = several.recommend_sources(
        [""], k=4, history=[["i3", "i5"]], exclude_seen=True
    )
    assert ids(answer) == items[0].tolist()
    found = [[item["ranks"].get(name, 0) for name in several.sources] for item in answer["items"]]
    assert found == ranks[0].tolist()
    answer = http.post("/recommend", json={**request, "channel": "items"}).json()
    items, _ = several.channels["items"].recommend(
        [""], k=4, history=[["i3", "i5"]], exclude_seen=True
    )
    assert ids(answer) == [item for item in items[0].tolist() if item]


def test_more_like_an_item(http, loaded):
    request = {"model": "two_tower", "item_id": "i3", "k": 4, "exclude": ["i1"]}
    answer = http.post("/similar", json=request).json()
    assert ids(answer) == loaded.similar(["i3"], k=4, exclude=["i1"])[0][0].tolist()
    request = {"model": "several", "channel": "towers", "item_id": "i3"}
    assert "i3" not in ids(http.post("/similar", json={**request, "k": 3}).json())


@pytest.mark.parametrize(
    "path, change, says",
    [
        ("/recommend", {"model": None}, "say which by model; there are: several, two_tower"),
        ("/recommend", {"user_id": None}, "say for whom: one of user_id, history, context"),
        ("/recommend", {"user_id": 7}, "user_id"),
        ("/recommend", {"user_id": True}, "body.user_id"),
        ("/recommend", {"k": 0}, "body.k"),
        ("/recommend", {"k": 7}, "k must be a whole number from 1 to 6; got 7"),
        ("/recommend", {"color": 1}, "body.color: Extra inputs are not permitted"),
        (
            "/recommend",
            {"context": {"color": 1}},
            "takes no color in context; it takes: age, device",
        ),
        ("/recommend", {"context": {"age": "old"}}, "age"),
        ("/recommend", {"context": {"age": {"a": 1}}}, "age must hold one number"),
        ("/recommend", {"history": ["i1"]}, "takes no history"),
        ("/recommend", {"exclude": "i1"}, "body.exclude"),
        ("/recommend", {"exclude": ["i1"] * 51}, "exclude has 51 ids; at most 50"),
        ("/recommend", {"exclude": [1]}, "exclude"),
        ("/recommend", {"channel": "items"}, "two_tower has no channel 'items'; it has: none"),
        ("/recommend", {"version": 1, "label": "best"}, "by number or by label, not by both"),
        ("/recommend", {"user_id": "\ud800"}, "Unicode"),
        ("/similar", {"item_id": "i99"}, "item 'i99' is unknown"),
        ("/similar", {"item_id": None}, "body.item_id"),
        ("/similar", {"item_id": "i1", "model": "several"}, "answers users, not items"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(http, path, change, says):
    who = {"user_id": "u1"} if path == "/recommend" else {}
    request = {"model": "two_tower", **who, **change}
    request = {name: value for name, value in request.items() if value is not None}
    headers = {"content-type": "application/json"}
    answer = http.post(path, content=json.dumps(request), headers=headers)
    assert answer.status_code == 400 and set(answer.json()) == {"error"}, answer.text
    assert says in answer.json()["error"] and "\n" not in answer.json()["error"]


def test_models_and_versions_that_there_are_not(http):
    for change in ({"model": "nobody"}, {"version": 9}, {"label": "best"}):
        answer = http.post("/recommend", json={"model": "two_tower", "user_id": "u1", **change})
        assert answer.status_code == 404 and "error" in answer.json()


def test_the_models_say_what_they_take(http):
    several, two_tower = http.get("/models").json()
    assert several["channels"] == ["popular", "items", "towers"] and several["history"]
    assert two_tower["answers"] == ["recommend", "similar"] and two_tower["k"] == 6
    assert two_tower["context"] == ["age", "device"]
