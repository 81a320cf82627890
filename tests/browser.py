"""Headless Chromium, for tests of pages; skips where it or selenium is missing."""

import json
import shutil

import pytest

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _find(*names):
    return next((path for path in map(shutil.which, names) if path), None)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="the page was not tried in a browser: no selenium")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = _find("chromium", "chromium-browser", "google-chrome"), _find("chromedriver")
    if not (chromium and driver):
        pytest.skip("Chromium and chromedriver are not on the PATH: the page was not tried in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=Service(driver))
    yield session
    session.quit()


def open_page(browser, url, *, width, theme="light"):
    """Load a page on a screen of some width, in pixels, and theme; the logs then hold what it did."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [
        {"name": "prefers-color-scheme", "value": theme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(url)


def requested(browser):
    """The addresses that were asked for since the last call or `open_page`, but data in the page itself."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = (message["params"]["request"] for message in messages if message["method"] == "Network.requestWillBeSent")
    return {request["url"] for request in sent if not request["url"].startswith("data:")}


def assert_fits(browser, width):
    """Nothing reaches beyond a screen of some width."""
    inner = browser.execute_script("return document.documentElement.clientWidth")
    assert width - 20 < inner <= width  # a scroll bar may take some
    assert browser.execute_script("return document.documentElement.scrollWidth") == inner


def background(browser):
    """Red of the page's background, 0 to 255."""
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return int(colour.removeprefix("rgb(").split(",")[0])
