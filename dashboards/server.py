"""What `streamlit run` is given: the pages as one application, and an answer for faults that nobody foresaw."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamlit import net_util

# Asked for by a page of another origin, Streamlit would ask a host of Amazon's what this machine is called outside.
net_util.get_external_ip = lambda: None
PATHS = ("leaderboard", "compare", "images", "runs")  # of app.PAGES, which are made anew in every run
INDEX = Path(st.__file__).parent / "static" / "index.html"
# A page's address is one step below the application's. Left to guess, Streamlit's script asks for its server there
# first, and the browser logs an error for every answer it does not get.
BASE = "<head><script>window.__streamlit={BACKEND_BASE_URL:new URL('.',document.baseURI).href}</script>"


def index(request: Request) -> HTMLResponse:
    """Streamlit's own document, which knows where its server is."""
    return HTMLResponse(INDEX.read_text("utf-8").replace("<head>", BASE, 1), headers={"Cache-Control": "no-cache"})


def explain(error: Exception) -> bool:
    """Say what a reader can do; the server's log has the rest."""
    st.error(f"this should not have happened: {type(error).__name__}. The terminal of `hsray dashboard` says more.")
    return True


app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[Route(f"/{path}", index) for path in PATHS],
    on_script_error=explain,
)
