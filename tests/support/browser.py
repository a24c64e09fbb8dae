"""Real headless Chromium for tests of pages; without it, or without Playwright, they are skipped and say so."""

import os
import shutil
import zlib
from contextlib import contextmanager

import numpy as np
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium():
    """A browser for the tests of a file."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, ready, width=1100, height=800, **options):
    """A page from disk: it makes one request, says nothing on the console, has a policy, and each id once."""
    page = browser.new_page(viewport={"width": width, "height": height}, **options)
    requests, messages = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(f"file://{os.fspath(path)}")
    page.wait_for_selector(ready)
    yield page
    assert len(requests) == 1 and messages == []
    assert page.locator('meta[http-equiv="Content-Security-Policy"]').count() == 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the window"
    page.close()


def colour_at(page, x, y):
    """What is seen at a place of the window: red, green, blue."""
    shot = page.screenshot(clip={"x": int(x), "y": int(y), "width": 1, "height": 1})
    place, packed = 8, b""
    while place < len(shot):
        size = int.from_bytes(shot[place : place + 4])
        packed += shot[place + 8 : place + 8 + size] if shot[place + 4 : place + 8] == b"IDAT" else b""
        place += 12 + size
    return np.frombuffer(zlib.decompress(packed)[1:4], np.uint8).astype(int)
