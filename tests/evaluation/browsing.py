"""Chromium for the tests of the pages."""

import shutil
import time

import pytest

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--window-size=1300,900",
)


def started():
    """Yields the driver of a browser, for a fixture."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium")
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("the pages need a browser: chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    for flag in CHROMIUM_FLAGS:
        options.add_argument(flag)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service(chromedriver), options=options)
    yield driver
    driver.quit()


def wait(condition, seconds=10):
    """Waits until a condition is met."""
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, f"the condition was not met within {seconds} seconds"
        time.sleep(0.05)


def press(page, *keys):
    """Presses keys, one after another."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(*keys).perform()
