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
    return colours_at(page, x, y, 1)[0]


def colours_at(page, x, y, count):
    """What is seen at a place of the window and at those to the right of it: (count, 3), red, green, blue."""
    shot = page.screenshot(clip={"x": int(x), "y": int(y), "width": count, "height": 1})
    place, packed = 8, b""
    channels = 4 if shot[25] == 6 else 3
    while place < len(shot):
        size = int.from_bytes(shot[place : place + 4])
        packed += shot[place + 8 : place + 8 + size] if shot[place + 4 : place + 8] == b"IDAT" else b""
        place += 12 + size
    how, *row = zlib.decompress(packed)
    for k in range(
        channels, len(row)
    ):  # (nothing lies above, so that each way of PNG's is a share of what lies left)
        row[k] = (row[k] + {0: 0, 1: 1, 2: 0, 3: 0.5, 4: 1}[how] * row[k - channels] // 1) % 256
    return np.array(row, int).reshape(count, channels)[:, :3]
