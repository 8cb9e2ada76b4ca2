"""The dashboard as a process: the sweep that starts meanwhile, where it listens, what it leaves alone, sign-in."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.browser.conftest import sync_api
from tests.browser.scene import free_port, make_folder, serve, stop
from tests.browser.window import PAGES, WAIT_MS, Watched
from tests.sweep.sweeps import TINY, start, write_experiment
from tests.tracking.stores import Server


def test_a_sweep_that_starts_meanwhile_appears_and_reaches_the_board(browser: sync_api.Browser, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path)
    served = serve(tmp_path)
    window = Watched(browser)
    try:
        page = window.open(f"{served.url}/", "text=no sweep under")
        assert "no sweep under" in page.inner_text(".stMain")
        process = start(tmp_path, "sweep", str(experiment))
        _wait(page, "running: process", process)
        page.get_by_role("combobox", name="Sweep").wait_for(timeout=WAIT_MS)
        _wait(page, "Under way", process)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
        cells, seeds = 4, TINY["final"]["seeds"]
        page.wait_for_function(
            f"document.querySelector('.hsray table').innerText.includes('{cells * seeds}/{cells * seeds}')",
            timeout=WAIT_MS,
        )
        page.wait_for_function("document.querySelector('.stMain').innerText.includes('not running')", timeout=WAIT_MS)
        page.get_by_role("link", name="Leaderboard").click()
        page.wait_for_selector(".hsray table", timeout=60_000)
        window.idle()
        assert {row[0] for row in window.table()} == {"mlp", "fc"}
        assert not window.faults
    finally:
        window.context.close()
        code, printed = stop(served)
    assert code == 0, printed
    assert "Traceback" not in printed


def test_it_listens_on_loopback_alone_and_writes_nothing_but_the_mirror(
    browser: sync_api.Browser, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path)
    before = _content(folder)
    served = serve(folder)
    window = Watched(browser)
    try:
        for path in ("/", "/leaderboard", "/images?pixel=3,4"):
            window.open(served.url + path)
        processes = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
        listening = [
            connection.laddr
            for process in processes
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert [address.ip for address in listening] == ["127.0.0.1"]
    finally:
        window.context.close()
        code, printed = stop(served)
    assert code == 0, printed
    after = _content(folder)
    assert {name: after.get(name) for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} <= {"mirror"}


def test_behind_an_mlflow_server_it_shows_the_same(browser: sync_api.Browser, tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    server = Server(tmp_path, f"sqlite:///{folder / 'mlflow.db'}")
    server.start()
    tables = []
    try:
        for number, uri in enumerate((server.uri, f"sqlite:///{folder / 'mlflow.db'}")):
            served = serve(folder, "--tracking-uri", uri, "--mirror", str(tmp_path / f"mirror-{number}"))
            window = Watched(browser)
            try:
                window.open(f"{served.url}/leaderboard")
                tables.append([window.table(0), window.table(1)])
                assert window.open(f"{served.url}/images?image=test-1").locator(".map img").count() == 5
                assert not window.faults
                window.page.goto("about:blank")
            finally:
                window.context.close()
                stop(served)
    finally:
        server.kill()
    assert tables[0] == tables[1] and all(tables[0])


def test_with_sign_in_set_up_nothing_is_shown_before_it(browser: sync_api.Browser, tmp_path: Path) -> None:
    """Through a provider that speaks OpenID Connect and lets in whoever names himself."""
    mock = pytest.importorskip("oidc_provider_mock")
    folder, port = make_folder(tmp_path), free_port()
    with mock.run_server_in_thread() as provider:
        secrets = folder / ".streamlit" / "secrets.toml"
        secrets.parent.mkdir()
        secrets.write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
            'cookie_secret = "0123456789abcdef0123456789abcdef"\nclient_id = "hsray"\nclient_secret = "y"\n'
            f'server_metadata_url = "http://127.0.0.1:{provider.server_port}/.well-known/openid-configuration"\n'
        )
        served = serve(folder, port=port)
        window = Watched(browser)
        try:
            for path in ("/", "/leaderboard", "/runs"):
                page = window.open(served.url + path, "text=Sign in")
                assert page.get_by_role("button", name="Sign in").count() == 1
                assert "demo" not in page.inner_text("body")
                assert "indian-pines" not in page.inner_text("body")
            page.get_by_role("button", name="Sign in").click()
            page.locator("input[name=sub]").fill("somebody")
            page.locator("button[type=submit], input[type=submit]").first.click()
            page.wait_for_selector(PAGES["/"], timeout=WAIT_MS)
            window.faults.clear()  # the provider has no icon
            page = window.open(f"{served.url}/leaderboard")
            assert "indian-pines" in page.inner_text("body")
            assert not window.faults
            window.page.goto("about:blank")
        finally:
            window.context.close()
            stop(served)


def _wait(page: sync_api.Page, words: str, process: subprocess.Popen[str]) -> None:
    """Until the page says so; a sweep that has ended by then has failed, or was not seen."""
    while page.locator(f"text={words}").count() == 0:
        assert process.poll() is None, (words, process.communicate(), page.inner_text(".stMain"))
        page.wait_for_timeout(200)


def _content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
