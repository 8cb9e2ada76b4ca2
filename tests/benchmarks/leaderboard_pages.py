"""How long the dashboard's pages take in a real browser, from the request until the page has ended its work."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from statistics import median

import psutil
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.report import Measurement
from tests.browser.conftest import SWITCHES
from tests.browser.scene import serve, stop
from tests.browser.window import IDLE, PAGES

REPEATS = 5
VIEWS = ("/compare?view=labels", "/compare?view=cost", "/compare?view=hyperparameters")
PATIENCE_MS = 120_000


def pages(mirror: Path, uri: str, goal_s: float, memory_goal_gb: float) -> list[Measurement]:
    """Every page: the first visit for information, which reads the mirror; then visits by one who looks around."""
    served = serve(mirror.parent, "--mirror", str(mirror), "--tracking-uri", uri)
    try:
        rows = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(SWITCHES))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            for path in (*PAGES, *VIEWS):
                first = _visit(page, served.url + path)
                times = [_visit(page, served.url + path) for _ in range(REPEATS)]
                note = f"{REPEATS}×, {min(times):.2f} … {max(times):.2f} s; first {first:.2f} s"
                rows.append(Measurement(f"dashboard {path}", median(times), "s", goal_s, note))
            browser.close()
        resident = psutil.Process(served.process.pid).memory_info().rss / 1e9
        return [*rows, Measurement("… server's memory", resident, "GB", memory_goal_gb, "resident, at the end")]
    finally:
        stop(served)


def _visit(page: Page, address: str) -> float:
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(IDLE, timeout=PATIENCE_MS)
    return time.perf_counter() - started
