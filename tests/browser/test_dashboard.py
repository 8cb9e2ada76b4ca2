"""The dashboard's pages in a real browser, over a folder as hsray leaves it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import sync_api
from tests.browser.scene import LABELS_HW, SEEDS, TEST_HW, Served, make_folder, serve, stop
from tests.browser.window import PAGES, WAIT_MS, Watched
from tests.sweep.sweeps import hsray

VIEWS = ("/compare?view=labels", "/compare?view=cost", "/compare?view=hyperparameters", "/compare?images=true")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = make_folder(tmp_path_factory.mktemp("dashboard"))
    found = serve(folder)
    yield found
    with open(folder / "mirror" / "mirror.json") as file:
        assert json.load(file)["sources"]
    code, printed = stop(found)
    assert code == 0 and "Traceback" not in printed, printed


@pytest.fixture
def watched(browser: sync_api.Browser) -> Iterator[Watched]:
    found = Watched(browser)
    yield found
    found.context.close()
    assert not found.faults


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_every_page_loads_without_a_fault_and_fits(
    browser: sync_api.Browser, served: Served, width: int, scheme: str
) -> None:
    for path in (*PAGES, *VIEWS):
        window = Watched(browser, width, scheme)
        page = window.open(served.url + path)
        assert page.locator("h1").count() == 1
        assert page.locator('[data-testid="stAlert"]').count() == 0, (path, page.inner_text("body"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert not window.faults, (path, window.faults)
        window.context.close()


def test_pages_are_reached_by_the_navigation(watched: Watched, served: Served) -> None:
    page = watched.open(f"{served.url}/")
    for name, path in (("Leaderboard", "leaderboard"), ("Compare", "compare"), ("Images", "images"), ("Live", "")):
        page.get_by_role("link", name=name).click()
        page.wait_for_selector(f"h1:has-text('{name}')", timeout=WAIT_MS)
        watched.idle()
        assert page.url.split("?")[0] == f"{served.url}/{path}"


def test_a_filter_changes_the_table_and_a_link_reproduces_the_view(
    browser: sync_api.Browser, watched: Watched, served: Served
) -> None:
    page = watched.open(f"{served.url}/leaderboard")
    assert len(watched.table(0)) == 3
    page.get_by_label("Strategy").click()
    page.get_by_role("option", name="hypersl").click()
    page.keyboard.press("Escape")
    page.get_by_label("Order by").click()
    page.get_by_role("option", name="mean F1").click()
    page.wait_for_function("document.querySelector('.hsray table tbody').rows.length === 1", timeout=WAIT_MS)
    watched.idle()
    assert [row[0] for row in watched.table(0)] == ["hypersl"]
    assert "strategy=hypersl" in page.url
    other = Watched(browser)
    other.open(page.url)
    assert other.page.inner_text(".stMain") == page.inner_text(".stMain")
    assert not other.faults
    other.context.close()


def test_the_best_is_marked_and_what_is_left_out_is_said(watched: Watched, served: Served) -> None:
    page = watched.open(f"{served.url}/leaderboard?fraction=100+%25")
    assert page.locator(".hsray table").count() == 1
    means = [float(row[5].split()[0]) for row in watched.table()]
    assert means == sorted(means, reverse=True)
    marked = page.locator(".hsray table strong").all_inner_texts()
    assert f"{max(means):.2f}" in marked
    assert "the filters leave 3 of 6 cells" in page.inner_text(".stMain")


def test_the_board_is_downloaded_as_csv_and_latex(watched: Watched, served: Served) -> None:
    page = watched.open(f"{served.url}/leaderboard?strategy=runet")
    found = {}
    for name in ("CSV", "LaTeX"):
        with page.expect_download(timeout=WAIT_MS) as download:
            page.get_by_role("button", name=name).click()
        found[name] = Path(download.value.path()).read_text("utf-8")
    assert "runet" in found["CSV"] and "hypersl" not in found["CSV"]
    assert "\\toprule" in found["LaTeX"]


def test_a_clicked_pixel_shows_its_classes_and_spectrum(
    browser: sync_api.Browser, watched: Watched, served: Served
) -> None:
    page = watched.open(f"{served.url}/images?a=hypersl&b=runet")
    assert page.locator(".map img").count() == 5
    box = page.locator(".map").first.bounding_box()
    assert box is not None
    row, column = 20, 33
    height, width = LABELS_HW.shape
    page.mouse.click(box["x"] + (column + 0.5) / width * box["width"], box["y"] + (row + 0.5) / height * box["height"])
    page.wait_for_selector(f"h3:has-text('Pixel at row {row}, column {column}')", timeout=WAIT_MS)
    watched.idle()
    assert f"test-0 (test), row {row}, column {column}" in page.inner_text(".stMain")
    assert f"pixel={row}%2C{column}" in page.url
    assert page.locator('[data-testid="stVegaLiteChart"]').count() == 1
    page.locator(".map").first.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(f"h3:has-text('Pixel at row {row + 1}, column {column}')", timeout=WAIT_MS)
    other = Watched(browser)
    other.open(page.url)
    assert f"Pixel at row {row + 1}, column {column}" in other.page.inner_text(".stMain")
    assert not other.faults
    other.context.close()


def test_every_test_image_can_be_looked_at_and_the_worst_comes_first(watched: Watched, served: Served) -> None:
    page = watched.open(f"{served.url}/images?a=hypersl&b=runet&image=test-2&pixel=4,5")
    assert page.locator(".map img").count() == 5
    said = page.inner_text(".stMain")
    assert "Test image, of 3" in said and "test-2 (test), row 4, column 5" in said
    scores = {}
    for name in TEST_HW:
        page = watched.open(f"{served.url}/images?a=efficientnet&b=runet&image={name}")
        scores[name] = float(page.locator("figcaption").nth(2).inner_text().split()[-2])
    worst = min(scores.values())
    assert scores["test-0"] != worst
    page = watched.open(f"{served.url}/images?a=efficientnet&b=runet&order=A%27s+worst+first")
    assert float(page.locator("figcaption").nth(2).inner_text().split()[-2]) == worst
    page = watched.open(f"{served.url}/images?a=efficientnet&b=runet")
    page.locator('[data-testid="stSelectbox"]', has_text="Order").locator("input").click()
    page.get_by_role("option", name="A's worst first").click()
    page.wait_for_selector(f"figcaption:has-text('{worst} %')", timeout=WAIT_MS)


def test_without_the_prepared_dataset_the_example_is_shown(watched: Watched, served: Served, tmp_path: Path) -> None:
    other = serve(served.folder, "--mirror", str(tmp_path / "mirror"), "--data", str(tmp_path / "nowhere"))
    try:
        page = watched.open(f"{other.url}/images?image=test-2")
        assert "the example is shown" in page.inner_text(".stMain")
        assert page.locator(".map img").count() == 5
        page.goto("about:blank")
    finally:
        stop(other)


def test_live_counts_what_status_counts(watched: Watched, served: Served) -> None:
    watched.open(f"{served.url}/")
    told = json.loads(hsray(served.folder, "status", "demo", "--format", "json").stdout)
    rows = {row[0]: row for row in watched.table()}
    assert len(rows) == len(told["cells"]) + 1
    for cell in told["cells"]:
        row = rows["  ".join(map(str, cell["axes"].values())).replace("  ", " ")]
        assert row[1] == f"{cell['trials']['done']}/{cell['trials']['planned']}"
        assert row[-1] == f"{100 * cell['best_validation_jaccard']:.1f} %"
    assert rows["all"][1] == f"{6 * 3}/{6 * 3}"
    assert f"{6 * SEEDS}/{6 * SEEDS}" in rows["all"]


def test_a_page_of_another_host_gets_no_connection(served: Served) -> None:
    """DNS rebinding: a stranger's name that leads to loopback."""
    port = int(served.url.rsplit(":", 1)[1])
    for host, welcome in (("stranger.example", False), (f"127.0.0.1:{port}", True)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        origin = "http://stranger.example" if not welcome else served.url
        headers = {
            "Host": host, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin,
        }  # fmt: skip
        connection.request("GET", "/_stcore/stream", headers=headers)
        assert (connection.getresponse().status == 101) == welcome
        connection.close()
