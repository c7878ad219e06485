"""The Chromium that is on the path, and pages in it that a test watches."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
NEEDED = [
    pytest.mark.browser,
    pytest.mark.skipif(not PATH, reason="needs Chromium: no `chromium` on the path"),
]
PHONE = {"width": 390, "height": 800}


@contextmanager
def launched() -> Iterator[Any]:
    """The browser, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PATH, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextmanager
def watched(
    browser: Any, *, beside: Collection[str] = (), refused: int = 0, **settings: Any
) -> Iterator[Any]:
    """A page that complains of nothing, and asks nobody but its server and those `beside`.

    `refused` says how many requests its server may refuse.
    """
    context = browser.new_context(**settings)
    page = context.new_page()
    faults: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: asked.add(request.url.split("/")[2]))
    yield page
    fine = [fault for fault in faults if "status of 4" in fault]
    assert faults == fine
    assert len(fine) <= refused
    assert len(asked - set(beside)) <= 1
    context.close()
