"""The report in a real browser: what it asks for, how wide it is, what can be read, and what a sweep's end leaves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsray.commands.report import keep_report, write_report
from hsray.leaderboard.runs import load
from hsray.tracking.client import all_runs, open_client
from hsray.tracking.orphans import open_runs
from tests.browser import reports
from tests.browser.conftest import sync_api

KINDS = ("plain", "crowded", "bare", "spectral")
A4_PX = 688  # 182 mm between the margins, at 96 pixels an inch
CONTRASTS = (Path(__file__).parent / "contrast.js").read_text("utf-8")
# What juts out of the page and does not scroll in a box of its own.
OUTSIDE = """() => [...document.querySelectorAll('body *')].filter(one => {
  const box = one.getBoundingClientRect();
  return box.width > 0 && !one.closest('svg, .scroll, pre') && box.right > document.documentElement.clientWidth + 1;
}).map(one => one.outerHTML.slice(0, 120))"""
TABLES = """() => [...document.querySelectorAll('table, pre, svg')].filter(one =>
  one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(one => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    found = {}
    for kind in KINDS:
        uri = getattr(reports, kind)(folder)
        found[kind] = folder / f"{kind}.html"
        write_report(kind, uri, folder / "mirror", found[kind], synced=True, overwrite=False)
    return found


@pytest.fixture
def visit(browser: sync_api.Browser, made: dict[str, Path]) -> Iterator:
    """Open a report; whatever it says on the console or asks for fails the test."""
    contexts, complaints = [], []

    def open_page(kind: str, width: int = 1200, scheme: str = "light", media: str = "screen") -> sync_api.Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda request: complaints.append(f"request: {request.url[:200]}") if not _own(request) else 0
        )
        page.emulate_media(media=media, color_scheme=scheme)
        page.goto(made[kind].as_uri())
        page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def _own(request: sync_api.Request) -> bool:
    return request.url.startswith("data:") or (request.url.startswith("file:") and request.is_navigation_request())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_juts_out_on_screen(visit, kind: str, width: int) -> None:
    page = visit(kind, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_juts_out_on_paper(visit, kind: str, tmp_path: Path) -> None:
    page = visit(kind, A4_PX, media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= A4_PX
    assert page.evaluate(OUTSIDE) == page.evaluate(TABLES) == []
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    pages = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", (tmp_path / "report.pdf").read_bytes())
    assert pages and all((round(float(w)), round(float(h))) == (595, 842) for w, h in pages)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_all_text_can_be_read(visit, kind: str, scheme: str, media: str) -> None:
    page = visit(kind, scheme=scheme, media=media)
    found = page.evaluate(CONTRASTS)
    assert found["texts"] > 30
    assert found["faint"] == []
    assert found["marks"] and min(found["marks"]) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_those_who_do_not_see_it(visit, kind: str) -> None:
    page = visit(kind)
    assert page.locator("h1").count() == 1
    levels = [
        int(name[1]) for name in page.evaluate("() => [...document.querySelectorAll('h1,h2,h3')].map(h => h.localName)")
    ]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert page.locator("nav a").count() == page.locator("main > section").count() - 1
    assert page.locator("img:not([alt]), img[alt=''], svg:not([aria-label]), svg[aria-label='']").count() == 0
    assert page.locator("html[lang]").count() == 1


def test_words_of_runs_stay_words(visit, made: dict[str, Path]) -> None:
    page = visit("crowded")
    assert page.locator("script, img[src='x'], [onerror]").count() == 0
    assert reports.HOSTILE in page.inner_text("body")
    assert reports.REASON in page.inner_text("#missing")
    assert reports.REASON in page.inner_text("#made")


def test_what_is_shown(visit, made: dict[str, Path]) -> None:
    page = visit("plain")
    assert {len(page.locator(f"#{anchor}").all()) for anchor in ("scores", "labels", "pairs", "classes", "made")} == {1}
    assert page.locator("#examples img").count() == 5
    assert page.evaluate("() => [...document.images].every(one => one.naturalWidth > 0)")
    assert page.locator("#confusions svg").count() == 3
    assert all(path.stat().st_size < 3e6 for path in made.values())
    assert "no cell has a complete final yet" in visit("bare").inner_text("#scores")
    spectra = visit("spectral")
    assert "spectra have no picture" in spectra.inner_text("#examples")
    assert "no final left confusion matrices" in spectra.inner_text("#classes")
    assert "was not logged" in spectra.inner_text("#made")


def test_a_sweeps_end(made: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A run of its own in MLflow, one however often the sweep ends, which no table and no sweep takes for its own."""
    root = made["plain"].parent
    uri, folder = f"sqlite:///{root / 'mlflow.db'}", root / "runs" / "plain"
    before = load("plain", uri)
    for _ in range(2):
        keep_report("plain", folder, uri)
    assert capfd.readouterr().out.count(str(folder / "report.html")) == 2
    client = open_client(uri)
    runs = all_runs(client, client.get_experiment_by_name("plain").experiment_id)
    [report] = [run for run in runs if run.data.tags.get("hsray.kind") == "report"]
    assert report.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(report.info.run_id)] == ["report.html"]
    assert (
        Path(client.download_artifacts(report.info.run_id, "report.html")).read_bytes()
        == (folder / "report.html").read_bytes()
    )
    assert load("plain", uri).equals(before)
    write_report("plain", uri, tmp_path / "mirror", tmp_path / "again.html", synced=True, overwrite=False)
    assert "cannot be used" not in (tmp_path / "again.html").read_text("utf-8")
    assert open_runs(uri)[1] == []
    reports.deliver(root, "plain")  # the sweep goes on: nobody deletes or closes it
    assert client.get_run(report.info.run_id).info.lifecycle_stage == "active"
    capfd.readouterr()
    keep_report("plain", folder, "http://127.0.0.1:9")
    told = capfd.readouterr()
    assert "no report was written: MLflow does not answer" in told.err and not told.out
