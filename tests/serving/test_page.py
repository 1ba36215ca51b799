"""The page in a browser: what a person sees, types and clicks, and that nothing else is asked."""

import functools
import re
import shutil
from urllib.parse import urlsplit

import keras
import numpy as np
import pandas as pd
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load as load_export
from tf_recall.export.write import save
from tf_recall.features import Id
from tf_recall.index import Exact
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.rankings import Popularity
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

load = functools.cache(load_export)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to show the page in")
EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
WAIT = 20_000  # milliseconds: the machine may be busy
K = 8  # the most items that the server's limits let through
CONFIG = """model_config_list {
  config { name: "films" base_path: "films" model_version_policy { all {} } }
  config { name: "several" base_path: "several" }
  config { name: "bare" base_path: "bare" }
}"""
FIGURES = {
    "metrics": {"recall@10": 0.25, "ndcg@10": 0.125, "recall@50": None},
    "baseline": {"recall@10": 0.1, "ndcg@10": 0.05, "recall@50": None},
    "slices": {
        "cold_items": {"cases": 3, "pairs": 4, "metrics": {"recall@10": 0.5}, "baseline": {}}
    },
    "counts": {"cases": 1234},
}


def film_log():
    items = pd.DataFrame(
        {
            "item_id": [f"i{at}" for at in range(30)],
            "title": [f"Film {at}" for at in range(28)] + [EVIL, None],
            "genre": ["comedy", "drama", "war"] * 10,
        }
    )
    users = [f"u{at % 12}" for at in range(96)]
    names = [f"i{at * 7 % 30}" for at in range(95)] + ["i28"]
    times = list(range(1_500_000_000, 1_500_000_000 + 96 * 86_400, 86_400))
    return Interactions.from_columns(user_id=users, item_id=names, timestamp=times, items=items)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two versions of a model, several channels, and a model without users and figures."""
    folder, log = tmp_path_factory.mktemp("page"), film_log()
    catalog = Catalog.fit(log)
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        towers = FeatureTower("user", [Id(4)]), FeatureTower("item", [Id(4)])
        model = TwoTower(*towers).adapt(log, catalog)
        service = Service.build(model, catalog, index=Exact(), k_max=20)
        figures = {**FIGURES, "metrics": {**FIGURES["metrics"], "recall@10": seed / 4}}
        save(service, folder / "films", model=model, metrics=figures)
    save(service, folder / "bare")
    channels = {
        "popular": Popularity().fit(log, catalog),
        "items": ItemCF().fit(log, catalog),
        "towers": service,
    }
    save(MultiChannel(channels, catalog), folder / "several", model={"towers": model})
    (folder / "models.config").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def server(folder, run_server):
    with run_server(folder, config=folder / "models.config", ui=True) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """`visit("#model=films", width=..., scheme=...)`: the page, watched for what it must not do."""
    contexts, wrong = [], []

    def open_page(fragment="", width=1300, height=900, scheme="light", url=None):
        url = url or server.rest
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            service_workers="block",
        )
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()

        def asked(request):
            parts = urlsplit(request.url)
            if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != url:
                wrong.append(f"asked {request.url}")

        page.on("request", asked)
        page.on("pageerror", lambda error: wrong.append(f"failed: {error}"))
        page.goto(f"{url}/ui{fragment}")
        return page

    yield open_page
    hacked = [page.evaluate("window.hacked") for each in contexts for page in each.pages]
    for each in contexts:
        each.close()
    assert not wrong and not any(hacked)


def names(page, label):
    """The names in the list of a card."""
    card = page.get_by_role("region", name=label, exact=True)
    card.locator(".row-item").first.wait_for()
    return card.locator(".row-item .name").all_inner_texts()


def titles(ids):
    """As the page shows them."""
    of = {f"i{at}": f"Film {at}" for at in range(28)} | {"i28": EVIL}
    return [of.get(each, each) for each in ids]


def choose(page, text, title):
    """Types into the field that has the focus, and takes the first that is found."""
    page.keyboard.type(text)
    page.wait_for_function(
        "t => document.querySelector('[role=option]')?.innerText.startsWith(t)", arg=title
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


def test_a_user_is_found_by_keyboard_and_gets_recommendations(visit, folder):
    page = visit("#model=films")
    page.get_by_text("Pick a user on the side").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("u1")
    page.get_by_role("option").first.wait_for()
    found = page.get_by_role("option").all_inner_texts()
    assert [each.split()[0] for each in found] == ["u1", "u10", "u11"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    loaded = load(folder / "films")
    items, scores = loaded.recommend(["u1"], k=K, exclude_seen=True)
    wanted = titles(items[0])
    assert names(page, "Recommendations") == wanted
    page.get_by_text("because of").first.wait_for()
    score = page.get_by_role("region", name="Recommendations").locator(".score").first.inner_text()
    assert float(score) == pytest.approx(scores[0, 0], abs=6e-4)
    history = names(page, "History")
    row = loaded.catalog.users.encode(["u1"])[0]
    past = loaded.catalog.items.decode(loaded.catalog.histories.of(row))[::-1]
    assert history[: len(past)] == titles(past)
    assert re.search(r"2017-\d\d-\d\d", page.get_by_role("region", name="History").inner_text())
    assert "user=u1" in page.url and "version=2" in page.url


def test_the_address_says_what_is_shown(visit):
    page = visit("#model=films&version=1&user=u3")
    first = names(page, "Recommendations")
    assert names(visit("#model=films&version=2&user=u3"), "Recommendations") != first


def test_somebody_unknown_is_typed(visit):
    page = visit("#model=films")
    page.get_by_role("combobox", name="User").click()
    page.keyboard.type("nobody")
    page.get_by_text("Enter takes it as it is").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("User nobody is unknown to this model").wait_for()
    page.get_by_text("Unknown to this model: user: nobody").wait_for()
    assert len(names(page, "Recommendations")) == K


def test_every_channel_stands_beside_the_merge(visit, folder):
    page = visit("#model=several&user=u2")
    loaded = load(folder / "several")
    for label, recommender in {"The merge": loaded, **loaded.channels}.items():
        items, score = recommender.recommend(["u2"], k=K, exclude_seen=True)
        kept = [each for each, own in zip(items[0], score[0], strict=True) if own > -float("inf")]
        if not kept:
            card = page.get_by_role("region", name=label, exact=True)
            card.get_by_text("Nothing is left to recommend here").wait_for()
            continue
        assert names(page, label) == titles(kept)
    merge = page.get_by_role("region", name="The merge", exact=True)
    assert re.fullmatch(r"(popular|items|towers) 1", merge.locator(".chip").first.inner_text())


def test_an_item_opens_what_is_like_it_and_goes_on(visit, folder):
    page = visit("#model=films&user=u2")
    names(page, "Recommendations")
    page.get_by_role("region", name="Recommendations").locator(".row-item").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    title = page.locator("#item-title").inner_text()
    assert title == names(page, "Recommendations")[1]
    number = title.split()[-1]
    like, _ = load(folder / "films").similar([f"i{number}"], k=K)
    shown = names(page, "More like this")
    assert shown == titles(like[0])
    page.get_by_text("genre").wait_for()
    page.get_by_role("region", name="More like this").locator(".row-item").nth(1).click()
    page.wait_for_function(
        "t => document.querySelector('#item-title').innerText === t", arg=shown[1]
    )
    page.keyboard.press("Escape")
    page.locator("#item-title").wait_for(state="detached")


def test_a_basket_is_built_by_title(visit, folder):
    page = visit("#model=several")
    page.get_by_role("button", name="A basket").click()
    page.get_by_text("Put items into the basket").wait_for()
    for title in ("film 3", "film 5"):
        page.keyboard.press("/") if title == "film 3" else None
        choose(page, title, title.title())
        page.get_by_label(f"Take out {title.title()}").wait_for()
    page.get_by_label("Take out Film 5").wait_for()
    items, _ = load(folder / "several").recommend(
        [""], k=10, history=[["i3", "i5"]], exclude_seen=True
    )
    wanted = titles(items[0])
    page.wait_for_function(
        "n => document.querySelector('[aria-label=\"The merge\"] .name')?.innerText === n",
        arg=wanted[0],
    )
    page.get_by_text("This channel takes no history").wait_for()
    page.get_by_label("Take out Film 3").click()
    page.get_by_role("button", name="Empty it").click()
    page.get_by_text("The basket is empty").wait_for()


def test_titles_and_ids_are_text(visit):
    page = visit("#model=films&user=" + "%3Cb%3Eu%3C%2Fb%3E")
    page.get_by_text("User <b>u</b> is unknown").wait_for()
    page.get_by_role("tab", name="Map").click()
    page.get_by_role("combobox", name="Mark an item").click()
    choose(page, "onerror", EVIL)
    page.locator(".q-chip").filter(has_text="onerror").wait_for()


def test_the_map_shows_colors_marks_and_opens(visit):
    page = visit("#model=films&view=map")
    page.get_by_text("30 of 30 items here").wait_for()
    legend = page.get_by_label("Colors").locator("span")
    assert legend.all_inner_texts() == ["drama", "comedy", "war"]
    page.get_by_role("combobox", name="Colored by").click()
    page.get_by_role("option", name="popularity").click()
    page.wait_for_function("() => document.querySelector('.legend').innerText.includes(' to ')")
    page.get_by_role("combobox", name="Mark an item").click()
    choose(page, "film 7", "Film 7")
    page.locator(".q-chip").filter(has_text="Film 7").wait_for()
    page.wait_for_function(
        "() => !document.querySelector('.map-tools').innerText.includes('30 of 30')"
    )
    box = page.locator(".canvas").bounding_box()
    where = """() => {
        const chart = echarts.getInstanceByDom(document.querySelector('.canvas'));
        const marked = chart.getOption().series.find((each) => each?.id === 'marked');
        return chart.convertToPixel({ gridIndex: 0 }, marked.data[0].value);
    }"""
    page.wait_for_timeout(300)  # the zoom has ended
    x, y = page.evaluate(where)
    page.get_by_label("Unmark Film 7").click()
    page.wait_for_timeout(300)
    page.mouse.move(box["x"] + x - 1, box["y"] + y)
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.locator("#item-title").wait_for()
    assert page.locator("#item-title").inner_text() == "Film 7"
    page.keyboard.press("Escape")
    page.locator(".canvas").focus()
    page.keyboard.press("0")
    page.get_by_text("30 of 30 items here").wait_for()


def test_figures_and_plots(visit):
    page = visit("#model=films&view=metrics")
    figures = page.get_by_label("Figures", exact=True)
    figures.wait_for()
    assert "0.5000" in figures.inner_text() and "5.0 × popularity" in figures.inner_text()
    page.get_by_role("img", name="recall@10 by slice").locator("canvas").wait_for()
    assert "1,234" in page.get_by_role("region", name="Measured on").inner_text()
    assert "–" in page.get_by_role("region", name="All figures").inner_text()  # of the figure None


def test_two_versions_stand_side_by_side(visit, folder):
    page = visit("#model=films&view=compare&user=u4")
    right, left = names(page, "films · version 1"), names(page, "films · version 2")
    shared = len({*left} & {*right})
    page.get_by_text(f"{shared} of {K}").wait_for()
    marked = page.get_by_role("region", name="films · version 1").locator(".row-item.shared")
    assert marked.count() == shared
    table = page.get_by_role("region", name="Figures").inner_text()
    assert "-0.2500" in table  # 0.25 less 0.5


def test_what_an_export_lacks_is_said(visit):
    page = visit("#model=bare&user=u1")
    page.get_by_text("This export was written without its users").wait_for()
    assert names(page, "Recommendations")  # titles are known all the same
    page.get_by_role("tab", name="Metrics").click()
    page.get_by_text("This version was exported without figures").wait_for()
    page.get_by_role("tab", name="Recommend").click()
    page.get_by_role("button", name="A basket").click()
    page.get_by_text("This model takes no history").wait_for()


def test_dark_and_light_follow_the_system_and_the_person(visit):
    background = "() => getComputedStyle(document.body).backgroundColor"
    page = visit("#model=films", scheme="dark")
    page.get_by_role("tab", name="Map").wait_for()
    dark = page.evaluate(background)
    light = visit("#model=films", scheme="light")
    light.get_by_role("tab", name="Map").wait_for()
    assert light.evaluate(background) != dark
    page.get_by_label("Theme: auto").click()
    page.get_by_label("Theme: light").wait_for()
    assert page.evaluate(background) == light.evaluate(background)
    page.reload()
    page.get_by_label("Theme: light").wait_for()


@pytest.mark.parametrize("view", ["recommend", "map", "metrics", "compare"])
def test_a_phone_shows_all_of_it(visit, view):
    page = visit(f"#model=several&user=u1&view={view}", width=360, height=740)
    page.get_by_role("tab", name="Compare").wait_for()
    page.wait_for_load_state("networkidle")
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0


def test_ids_that_are_long_numbers_stay_what_they_are(visit, tmp_path, run_server):
    start = 2**60  # beyond what a number of JavaScript holds
    log = Interactions.from_columns(
        user_id=[start + at % 4 for at in range(24)], item_id=[start + at for at in range(24)]
    )
    catalog = Catalog.fit(log)
    channels = {"items": ItemCF().fit(log, catalog), "popular": Popularity().fit(log, catalog)}
    save(MultiChannel(channels, catalog), tmp_path / "long")
    with run_server(tmp_path, ui=True) as server:
        page = visit("", url=server.rest)
        page.get_by_role("combobox", name="User").click()
        choose(page, str(start + 2), str(start + 2))
        items, _ = load(tmp_path / "long").recommend([start + 2], k=K, exclude_seen=True)
        assert names(page, "The merge") == [str(each) for each in items[0]]
        page.get_by_role("region", name="The merge").locator(".row-item").first.click()
        page.get_by_role("button", name="Into the basket").click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="A basket").click()
        history = [[int(items[0, 0])]]
        items, _ = load(tmp_path / "long").recommend([-1], k=K, history=history, exclude_seen=True)
        page.wait_for_function(
            "n => document.querySelector('[aria-label=\"The merge\"] .name')?.innerText === n",
            arg=str(items[0, 0]),
        )
        assert names(page, "The merge") == [str(each) for each in items[0]]
        page.get_by_role("button", name="A user").click()
        page.get_by_role("combobox", name="User").fill("abc")
        page.keyboard.press("Enter")
        page.get_by_text("the ids of users are whole numbers here; got 'abc'").wait_for()


def test_a_key_is_asked_for_and_nothing_told_without(visit, folder, run_server):
    with run_server(folder / "films", key="secret", ui=True) as server:
        page = visit("", url=server.rest)
        page.get_by_text("This server asks for a key").wait_for()
        assert "films" not in page.content()
        page.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("The server does not take this key").wait_for()
        page.get_by_label("Key", exact=True).fill("secret")
        page.keyboard.press("Enter")
        page.get_by_role("tab", name="Map").click()
        page.get_by_text("30 of 30 items here").wait_for()
        assert "secret" not in page.url
        page.get_by_label("Forget the key").click()
        page.get_by_text("This server asks for a key").wait_for()


def test_a_server_that_went_is_told(visit, folder, run_server):
    with run_server(folder / "films", ui=True) as server:
        page = visit("#user=u1", url=server.rest)
        names(page, "Recommendations")
    page.get_by_role("tab", name="Metrics").click()
    page.get_by_text("The server does not answer. Is it still running?").wait_for()


@pytest.fixture(scope="module")
def a_million(tmp_path_factory):
    """An export of a million items with titles, and ten thousand users."""
    number = 1_000_000
    ids = np.char.add("i", np.arange(number).astype(str)).astype(object)
    table = pd.DataFrame(
        {"item_id": ids, "title": np.char.add("Film ", ids.astype(str)).astype(object)}
    )
    table["genre"] = np.array(["comedy", "drama", "war"], object)[np.arange(number) % 3]
    users = np.char.add("u", (np.arange(100_000) % 10_000).astype(str)).astype(object)
    log = Interactions.from_columns(user_id=users, item_id=ids[::10], items=table)
    catalog = Catalog.fit(log)
    keras.utils.set_random_seed(0)
    towers = FeatureTower("user", [Id(8)]), FeatureTower("item", [Id(8)])
    model = TwoTower(*towers).adapt(log, catalog)
    folder = tmp_path_factory.mktemp("million")
    save(Service.build(model, catalog, index=Exact(), k_max=20), folder / "films", model=model)
    return folder


@pytest.mark.slow
def test_a_million_items_are_searched_drawn_and_zoomed_into(visit, a_million, run_server):
    with run_server(a_million, ui=True) as server:
        page = visit("#view=map", url=server.rest)
        sizes = []
        page.on("response", lambda got: sizes.append(int(got.headers.get("content-length", 0))))
        page.get_by_text("20,000 of 1,000,000 items here; zoom in for more").wait_for(
            timeout=120_000
        )
        page.get_by_label("Mark an item").focus()
        choose(page, "film i765432", "Film i765432")
        page.locator(".q-chip").filter(has_text="Film i765432").wait_for()
        shown = """() => document.querySelector('.map-tools').innerText
            .match(/([\\d,]+) of ([\\d,]+) items/)"""
        before = 1_000_000
        page.locator(".canvas").focus()
        for _ in range(12):
            page.keyboard.press("+")
            page.wait_for_timeout(400)
            _, drawn, there = page.evaluate(shown)
            drawn, there = int(drawn.replace(",", "")), int(there.replace(",", ""))
            assert drawn == min(20_000, there) and there <= before
            before = there
        assert before < 20_000  # all that is there is drawn in the end
        page.get_by_role("tab", name="Recommend").click()
        page.keyboard.press("/")
        choose(page, "u9876", "u9876")
        assert len(names(page, "Recommendations")) == K
        assert max(sizes) <= 8 + 13 * 20_000 and len(sizes) > 12
