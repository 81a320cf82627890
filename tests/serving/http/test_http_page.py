"""The page of a server in a browser: by pointer and by keys alone, on a desk and on a phone."""

import dataclasses

import polars as pl
import pytest
from browser import assert_fits, background, open_page, requested
from random_runs import write_run
from server_process import serving
from tiny_runs import EVIL, NUM_ITEMS, evil_dataset, tiny_config

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("selenium", reason="selenium is not installed: pip install 'piavae-jax[dev]'")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from piavae_jax.data.prepared import write_prepared
from piavae_jax.serving import Recommender


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Multi-VAE + PIA whose first item, `i0`, has the title `EVIL` and whose second, `i1`, has none."""
    folder = tmp_path_factory.mktemp("page")
    dataset = write_prepared(evil_dataset(), folder / "data")
    return write_run(folder / "run", tiny_config(), dataset)


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    with serving(run, tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture(scope="module")
def recommender(run):
    return Recommender.from_run(run)


@pytest.fixture(params=[(1280, "light"), (360, "dark")], ids=["desk", "phone"])
def screen(request, browser, server):
    """The page, freshly loaded; after the test it must have asked nobody else, told no error and fit its screen."""
    width, theme = request.param
    open_page(browser, server.url, width=width, theme=theme)
    page = Page(browser)
    page.wait(lambda: page.items("list") and page.items("found"))
    yield page
    assert browser.get_log("browser") == []
    addresses = requested(browser)
    assert f"{server.url}/recommend" in addresses
    assert all(address.startswith(f"{server.url}/") for address in addresses)
    assert_fits(browser, width)
    assert background(browser) < 60 if theme == "dark" else background(browser) > 200
    assert browser.execute_script("return typeof window.broken") == "undefined"


class Page:
    """What a person does and sees."""

    def __init__(self, browser):
        self.browser = browser

    def at(self, name):
        return self.browser.find_element(By.ID, name)

    def press(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def wait(self, condition):
        WebDriverWait(self.browser, 20, poll_frequency=0.05).until(lambda _: condition())

    def items(self, name):
        """Ids of a list, as shown."""
        script = "return [...document.querySelectorAll(`#${arguments[0]} button`)].map(button => button.dataset.item)"
        return self.browser.execute_script(script, name)

    def rows(self, name):
        """What each button of a list says: title, note, sign."""
        script = """return [...document.querySelectorAll(`#${arguments[0]} button`)].map(
            button => [...button.children].filter(part => !part.classList.contains("bar"))
                .map(part => part.innerText))"""
        return self.browser.execute_script(script, name)

    def focused(self):
        """The id of the element in focus, or (list, item) for a list's button."""
        script = """const at = document.activeElement, list = at.closest("ul, ol");
            return list ? [list.id, at.dataset.item] : [at.id]"""
        found = self.browser.execute_script(script)
        return tuple(found) if len(found) > 1 else found[0]

    def tab_to(self, name):
        """Press Tab until an element, or a list's item, is in focus."""
        for _ in range(12):
            found = self.focused()
            if name == found or (isinstance(found, tuple) and name == found[0]):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"Tab does not reach {name}, but {self.focused()}")

    def search(self, text, expected):
        """Type, and wait for an item to be found first."""
        self.tab_to("search")
        ActionChains(self.browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(text).perform()
        self.wait(lambda: self.items("found")[:1] == [expected])

    def add(self, text, item):
        """Search, and choose what is found first."""
        self.search(text, item)
        self.press(Keys.ARROW_DOWN, Keys.ENTER, Keys.ARROW_UP)
        assert item in self.items("history")

    def recommended(self, recommender, history):
        """The history is this one, and the list becomes the recommender's."""
        assert self.items("history") == history
        expected = recommender.recommend({0: history}, 20)
        self.wait(lambda: self.items("list") == expected["item_id"].to_list())
        assert notes(self.rows("list")) == [f"{score:.2f}".replace("-", "−") for score in expected["score"]]


def notes(rows):
    return [note for _, note, _ in rows]


def test_keys_alone_build_a_history(screen, recommender):
    screen.search("title 17", "i17")
    screen.press(Keys.ARROW_DOWN)
    assert screen.focused() == ("found", "i17")
    screen.press(Keys.ENTER)
    screen.recommended(recommender, ["i17"])
    assert screen.rows("found")[0][2] == "✓"
    assert screen.focused() == ("found", "i17")
    first = screen.items("list")
    screen.press(Keys.ARROW_UP)
    screen.search("title 4", "i4")
    screen.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    screen.recommended(recommender, ["i17", "i4"])
    assert screen.items("list") != first
    screen.tab_to("history")
    assert screen.focused() == ("history", "i17")
    screen.press(Keys.ENTER)
    assert screen.focused() == ("history", "i4")
    screen.recommended(recommender, ["i4"])
    screen.tab_to("clear")
    screen.press(Keys.ENTER)
    assert screen.focused() == "search"
    screen.wait(lambda: screen.at("source").text.startswith("The most popular"))
    assert screen.items("history") == []
    assert screen.at("history").text.startswith("Nothing yet")


def test_why_and_similar_are_the_recommenders(screen, recommender):
    screen.add("title 17", "i17")
    screen.add("title 4", "i4")
    screen.recommended(recommender, ["i17", "i4"])
    screen.tab_to("list")
    screen.press(Keys.ARROW_DOWN, Keys.ENTER)
    screen.wait(lambda: screen.focused() == "details")
    item = screen.items("list")[1]
    why, similar = recommender.explain(["i17", "i4"], item), recommender.similar_items(item, 8)
    assert screen.at("details-title").text == screen.rows("list")[1][0]
    assert screen.items("why") == why["item_id"].to_list()
    assert notes(screen.rows("why")) == [f"{effect:+.2f}".replace("-", "−") for effect in why["effect"]]
    assert screen.items("similar") == similar["item_id"].to_list()
    assert notes(screen.rows("similar")) == [f"{score:.2f}".replace("-", "−") for score in similar["score"]]
    screen.tab_to("toggle")
    screen.press(Keys.ENTER)
    screen.recommended(recommender, ["i17", "i4", item])
    screen.wait(lambda: screen.at("toggle").text == "Remove from the history")
    other = next(other for other in screen.items("similar") if other not in ("i17", "i4"))
    screen.browser.find_element(By.CSS_SELECTOR, f"#similar [data-item='{other}']").click()
    screen.recommended(recommender, ["i17", "i4", item, other])
    screen.wait(lambda: sorted(screen.items("why")) == sorted(["i17", "i4", other]))


def test_a_title_with_markup_is_shown_and_not_run(screen, recommender):
    screen.add("window.broken", "i0")
    screen.recommended(recommender, ["i0"])
    assert screen.rows("found")[0][0] == screen.rows("history")[0][0] == EVIL
    screen.add("i1", "i1")
    assert screen.rows("history")[1][0] == "Item i1"
    screen.tab_to("list")
    screen.press(Keys.ENTER)
    screen.wait(lambda: EVIL in [title for title, _, _ in screen.rows("why")])


def test_what_there_is_to_say_without_items_and_without_a_server(screen):
    assert screen.at("run").text == f"tiny · {NUM_ITEMS} items"
    assert screen.rows("list")[0][0] == EVIL
    assert all(note.endswith(" users") for note in notes(screen.rows("list")))
    screen.tab_to("search")
    screen.press("no such title")
    screen.wait(lambda: screen.at("found").text == "No title holds all of these words.")
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    screen.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        screen.press(" at all")
        screen.wait(lambda: screen.at("status").text == "The server does not answer: try again.")
    finally:
        screen.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    assert all("ERR_INTERNET_DISCONNECTED" in entry["message"] for entry in screen.browser.get_log("browser"))
    screen.press(Keys.BACKSPACE)
    screen.wait(lambda: not screen.at("status").text)


def test_the_description_of_the_requests_renders(browser, server):
    open_page(browser, f"{server.url}/docs", width=360)
    page = Page(browser)
    page.wait(lambda: "GET /health" in page.at("operations").text)
    assert "recommendations[].items[].score" in page.at("operations").text
    assert browser.get_log("browser") == []
    assert_fits(browser, 360)


def test_ids_beyond_what_javascript_counts_to_are_kept_to_the_digit(browser, tmp_path):
    first = 2**53 + 1
    plain = evil_dataset()
    ids = pl.Series([first + n for n in range(NUM_ITEMS)])
    dataset = write_prepared(dataclasses.replace(plain, items=plain.items.with_columns(item_id=ids)), tmp_path / "data")
    with serving(write_run(tmp_path / "run", tiny_config(), dataset), tmp_path) as server:
        open_page(browser, server.url, width=1280, theme="light")
        page = Page(browser)
        page.wait(lambda: page.items("list") and page.items("found"))
        assert len(set(page.items("list"))) == len(page.items("list"))  # as numbers, neighbours are one
        page.add("Title 4", str(first + 4))
        page.wait(lambda: str(first + 4) not in page.items("list"))
        assert page.at("status").text == ""
        assert page.items("history") == [str(first + 4)]
        page.wait(lambda: set(page.items("list")) == set(map(str, expected(tmp_path / "run", [first + 4]))))


def expected(run, history):
    log = pl.DataFrame({"user": [0] * len(history), "item": history})
    return Recommender.from_run(run).recommend(log, 20)["item_id"].to_list()
