"""A browser's window that notes everything that goes wrong in it, over the dashboard's pages."""

from __future__ import annotations

from tests.browser.conftest import sync_api

PAGES = {
    "/": ".hsray table",
    "/leaderboard": ".hsray table",
    "/compare": ".hsray table",
    "/images": ".map img",
    "/runs": '[data-testid="stDataFrame"] canvas',
}  # and what each has once it is there
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"] h1'
WAIT_MS = 60_000


class Watched:
    """A browser's window that notes everything that goes wrong in it. Anew: nothing is remembered from others."""

    def __init__(self, browser: sync_api.Browser, width: int = 1280, scheme: str = "light") -> None:
        self.faults: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("response", lambda answer: answer.status >= 400 and self.faults.append(answer.url))
        self.page.on("request", self._request)

    def open(self, address: str, until: str = "") -> sync_api.Page:
        """Go there, until it shows what its page is for."""
        self.page.goto(address)
        path = "/" + address.split("/")[3].partition("?")[0]
        self.page.wait_for_selector(until or PAGES[path], timeout=WAIT_MS)
        self.idle()
        return self.page

    def idle(self) -> None:
        self.page.wait_for_selector(IDLE, timeout=WAIT_MS)
        self.page.wait_for_timeout(400)  # what is drawn after the last message
        self.page.wait_for_selector(IDLE, timeout=WAIT_MS)
        for box in self.page.query_selector_all('[data-testid="stException"]'):
            self.faults.append(box.inner_text())

    def table(self, number: int = 0) -> list[list[str]]:
        """The texts of a table's body."""
        rows = self.page.locator(".hsray table").nth(number).locator("tbody tr")
        return [row.locator("th, td").all_inner_texts() for row in rows.all()]

    def _console(self, message: sync_api.ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _request(self, request: sync_api.Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.faults.append(f"asks the network: {request.url}")
