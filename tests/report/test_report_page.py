"""The page in a browser: it loads nothing, raises nothing, fits a phone, and answers pointer and keys."""

import json

import numpy as np
import pytest
from browser import assert_fits, background, open_page, requested
from tiny_runs import EVIL

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'piavae-jax[dev]'")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By


@pytest.fixture(params=[(1280, "light"), (360, "light"), (360, "dark")], ids=lambda screen: f"{screen[0]}-{screen[1]}")
def screen(request, browser, pia_page):
    """The page, freshly loaded on a screen of some width and theme."""
    width, theme = request.param
    open_page(browser, pia_page.as_uri(), width=width, theme=theme)
    return browser, width, theme


def tip_of(browser):
    return browser.find_element(By.ID, "tip")


def map_data(browser):
    return json.loads(browser.execute_script("return document.getElementById('map-data').textContent"))


def expected_lines(browser, number):
    """What the tooltip of a user must hold."""
    data = map_data(browser)
    user, shown, held_out, _, items = data["users"][number]
    assert items
    return [f"User {user}: {shown} item", f"{held_out} held out", *(data["titles"][item] for item in items)]


def test_it_renders_without_errors_requests_or_overflow(screen, pia_page):
    browser, width, theme = screen
    assert browser.find_element(By.TAG_NAME, "h1").text == "Multi-VAE + PIA on tiny"
    assert browser.get_log("browser") == []
    assert requested(browser) == {pia_page.as_uri()}
    assert_fits(browser, width)
    assert background(browser) < 60 if theme == "dark" else background(browser) > 200


def test_hovering_a_user_shows_size_and_titles(screen):
    browser, width, _ = screen
    for number in (0, 5):
        circle = browser.find_elements(By.CSS_SELECTOR, "#map circle")[number]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", circle)
        ActionChains(browser).move_to_element(circle).perform()
        tip = tip_of(browser)
        assert tip.is_displayed()
        assert all(line in tip.text for line in expected_lines(browser, number))
        box = tip.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    ActionChains(browser).move_to_element(browser.find_element(By.ID, "neighbours-title")).perform()
    assert not tip_of(browser).is_displayed()


def test_keys_move_from_user_to_user(screen):
    browser, _, _ = screen
    circles = browser.find_elements(By.CSS_SELECTOR, "#map circle")
    places = np.array([[float(circle.get_attribute(axis)) for axis in ("cx", "cy")] for circle in circles])
    middle = int(np.argmin(np.abs(places - np.median(places, axis=0)).max(axis=1)))  # somebody is on every side
    browser.execute_script("arguments[0].focus()", circles[middle])
    assert all(line in tip_of(browser).text for line in expected_lines(browser, middle))
    moved = 0
    for key, axis, sign in ((Keys.ARROW_RIGHT, 0, 1), (Keys.ARROW_LEFT, 0, -1), (Keys.ARROW_DOWN, 1, 1)):
        before = circles.index(browser.switch_to.active_element)
        ActionChains(browser).send_keys(key).perform()
        after = circles.index(browser.switch_to.active_element)
        if after != before:
            moved += 1
            assert sign * (places[after, axis] - places[before, axis]) > 0
            lines = expected_lines(browser, after)
            assert all(line in tip_of(browser).text for line in lines)
            assert all(line in circles[after].get_attribute("aria-label") for line in lines)
    assert moved >= 2
    assert [circle.get_attribute("tabindex") for circle in circles].count("0") == 1


def test_a_title_with_markup_is_shown_and_not_run(screen):
    browser, _, _ = screen
    assert browser.execute_script("return typeof window.broken") == "undefined"
    data = map_data(browser)
    number = next(n for n, user in enumerate(data["users"]) if EVIL in [data["titles"][item] for item in user[4]])
    browser.execute_script("document.querySelectorAll('#map circle')[arguments[0]].focus()", number)
    assert EVIL in tip_of(browser).text
    assert browser.execute_script("return typeof window.broken") == "undefined"


def test_choosing_an_item_marks_its_users(screen):
    browser, _, _ = screen
    browser.find_element(By.CSS_SELECTOR, "#choice option[value='3']").click()
    chosen = map_data(browser)["choices"][3]
    circles = browser.find_elements(By.CSS_SELECTOR, "#map circle")
    assert [n for n, circle in enumerate(circles) if "chosen" in circle.get_attribute("class")] == chosen
    assert browser.find_element(By.ID, "chosen").text == f"{len(chosen)} of {len(circles)} users."
    browser.find_element(By.CSS_SELECTOR, "#choice option[value='']").click()
    assert "choosing" not in (browser.find_element(By.ID, "map").get_attribute("class") or "")


def test_a_curve_tells_its_epochs(screen):
    browser, _, _ = screen
    chart = browser.find_element(By.CSS_SELECTOR, "svg.lines")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", chart)
    chart.send_keys(Keys.ARROW_LEFT)
    text = tip_of(browser).text
    data = json.loads(chart.find_element(By.XPATH, "following-sibling::script").get_attribute("textContent"))
    assert "epoch 4" in text
    for name, values in zip(data["lines"], data["values"], strict=True):
        assert f"{name} {float(format(values['4'], '.4g')):g}" in text
