"""What the page's routes send and refuse, without a browser."""

import struct

import httpx
import numpy as np
import pytest

from tf_recall.serving.page import files


@pytest.fixture(scope="module")
def ui(exports, run_server):
    """A client of a server with the page, over exports without a table of items."""
    with run_server(exports, ui=True) as server, httpx.Client(base_url=server.rest) as client:
        yield client


def map_of(client, **asked):
    for _ in range(2000):
        answer = client.get("/ui/api/map", params=asked)
        if answer.status_code != 200 or "bounds" in answer.json():
            return answer
    raise AssertionError(answer.text)


def test_files_are_guarded_and_sent_once(ui):
    answer = ui.get("/ui")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"].startswith("text/html")
    assert "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = ui.get("/ui", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content
    for path, file in files.read().items():
        answer = ui.get(path)
        assert answer.content == file.body, path
    assert ui.get("/", follow_redirects=False).headers["location"] == "ui"


@pytest.mark.parametrize(
    "path", ["/ui/static/../routes.py", "/ui/static/%2e%2e/routes.py", "/ui/static/vendor", "/ui/x"]
)
def test_no_path_reaches_the_disk(ui, path):
    assert ui.get(path).status_code in (404, 405)


def test_no_file_names_another_host():
    own = [path for path in files.read() if "/vendor/" not in path]
    assert len(own) > 10
    for path in own:
        text = files.read()[path].body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text and "v-html" not in text, path


def test_without_the_page_there_is_none(http):
    for path in ("/ui", "/ui/api/models", "/ui/static/app.js"):
        assert http.get(path).status_code == 404


def test_nothing_is_told_without_the_key(exports, run_server):
    with (
        run_server(exports / "two_tower", ui=True, key="secret") as server,
        httpx.Client(base_url=server.rest) as client,
    ):
        assert client.get("/ui").status_code == client.get("/ui/static/app.js").status_code == 200
        for path in ("models", "users?model=two_tower", "map?model=two_tower", "nothing"):
            assert client.get(f"/ui/api/{path}").status_code == 401
        bearer = {"authorization": "Bearer secret"}
        assert client.get("/ui/api/models", headers=bearer).status_code == 200


def test_versions_say_what_they_take(ui):
    several, two_tower = ui.get("/ui/api/models").json()
    assert [each["name"] for each in several["channels"]] == ["popular", "items", "towers"]
    assert two_tower["context"] == {"device": "text", "age": "number"}
    assert (two_tower["users"], two_tower["items"], two_tower["title"]) == (2, 10, None)


def test_users_and_items_are_found(ui):
    found = ui.get("/ui/api/users", params={"model": "two_tower", "q": "2"}).json()
    assert found == {"known": True, "total": 1, "found": [{"id": "u2", "events": 5}]}
    found = ui.get("/ui/api/items", params={"model": "two_tower", "q": "i7"}).json()
    assert found == {"total": 1, "found": [{"id": "i7", "title": None}]}
    told = ui.get("/ui/api/item", params={"model": "two_tower", "id": "i7"}).json()
    assert told["known"] and told["events"] == 1
    assert not ui.get("/ui/api/item", params={"model": "two_tower", "id": "?"}).json()["known"]
    past = ui.get("/ui/api/user", params={"model": "two_tower", "id": "u1"}).json()
    assert past["total"] == 5 and [each["item_id"] for each in past["events"]][:2] == ["i8", "i6"]
    body = {"model": "two_tower", "ids": ["i1", "?"]}
    assert ui.post("/ui/api/titles", json=body).json() == {"titles": [None, None]}


@pytest.mark.parametrize("model", ["two_tower", "several"])
def test_points_come_as_arrays(ui, model):
    about = map_of(ui, model=model).json()
    assert about["points"] == 10 and about["columns"] == ["popularity"]
    x0, x1, y0, y1 = about["bounds"]
    corners = {"x0": x0, "x1": x1, "y0": y0, "y1": y1, "model": model}
    body = ui.get("/ui/api/map/points", params={**corners, "color": "popularity"}).content
    n, total = struct.unpack("<II", body[:8])
    assert n == total == 10 and len(body) == 8 + 13 * n
    x, y = np.frombuffer(body, "<f4", n, 8), np.frombuffer(body, "<f4", n, 8 + 4 * n)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((x0, x1, y0, y1))
    rows = np.frombuffer(body, "<u4", n, 8 + 8 * n)
    assert sorted(rows.tolist()) == list(range(10))
    told = ui.get("/ui/api/map/item", params={"model": model, "row": int(rows[0])}).json()
    at = ui.get("/ui/api/item", params={"model": model, "id": told["id"]}).json()["at"]
    assert at == pytest.approx([x[0], y[0]])
    nothing = ui.get("/ui/api/map/points", params={**corners, "x0": x1 + 1, "x1": x1 + 2}).content
    assert nothing == struct.pack("<II", 0, 0)


@pytest.mark.parametrize(
    "path, says, status",
    [
        ("models?x=1", None, 200),
        ("metrics?model=nobody", "Servable not found", 404),
        ("users?model=two_tower&version=9", "Servable not found", 404),
        ("users?model=two_tower&version=0", "query.version", 400),
        ("users?model=two_tower&q=" + "x" * 501, "query.q", 400),
        ("map/points?model=two_tower&x0=a&x1=1&y0=0&y1=1", "query.x0", 400),
        ("map/points?model=two_tower&x0=nan&x1=1&y0=0&y1=1", "query.x0", 400),
        ("map/points?model=two_tower&x0=0&x1=1&y0=0&y1=1&color=x", "cannot be colored by 'x'", 400),
        ("map/item?model=two_tower&row=10", "there is no row 10 of items", 400),
        ("map/item?model=two_tower&row=-1", "there is no row -1 of items", 400),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(ui, path, says, status):
    map_of(ui, model="two_tower")
    answer = ui.get(f"/ui/api/{path}")
    assert answer.status_code == status
    assert says is None or says in answer.json()["error"]


def test_titles_of_a_file_serve_exports_without_any(exports, run_server, tmp_path):
    (tmp_path / "films.csv").write_text("item_id,title,year\ni1,One,1999\ni2,Two,\n")
    with (
        run_server(exports / "two_tower", ui=True, items=tmp_path / "films.csv") as server,
        httpx.Client(base_url=server.rest) as client,
    ):
        (told,) = client.get("/ui/api/models").json()
        assert told["title"] == "title" and told["columns"] == ["title", "year"]
        body = {"user_id": "u1", "columns": ["title", "year"], "exclude_seen": False, "k": 6}
        items = client.post("/recommend", json={**body, "allow": ["i1", "i2"]}).json()["items"]
        columns = {each["item_id"]: each["columns"] for each in items}
        assert columns == {"i1": {"title": "One", "year": 1999.0}, "i2": {"title": "Two"}}
        answer = client.post("/similar", json={"item_id": "i3", "columns": ["color"]})
        assert answer.status_code == 400
        assert "no column 'color' of items; there are: title, year" in answer.json()["error"]
