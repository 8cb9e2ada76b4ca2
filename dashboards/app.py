"""The entry point that Streamlit runs for every view: sign-in, then the page that the address names."""

from __future__ import annotations

import numpy as np
import streamlit as st
from PIL.Image import Image, fromarray

from hsray.dashboards import board, compare, images, links, live
from hsray.dashboards.settings import settings
from hsray.dashboards.sheets import STYLE
from hsray.dashboards.words import fault
from hsray.errors import HsrayError

PAGES = [
    st.Page(live.page, title="Live", url_path="live", icon=":material/monitoring:", default=True),
    st.Page(board.page, title="Leaderboard", url_path="leaderboard", icon=":material/leaderboard:"),
    st.Page(compare.page, title="Compare", url_path="compare", icon=":material/compare_arrows:"),
    st.Page(images.page, title="Images", url_path="images", icon=":material/image:"),
    st.Page(links.page, title="Runs", url_path="runs", icon=":material/link:"),
]


@st.cache_resource
def _icon() -> Image:
    """A spectrum: from this server, for an icon by name would be fetched from the network."""
    colours_L3 = np.array([[86, 180, 233], [0, 114, 178], [0, 158, 115], [240, 228, 66], [230, 159, 0], [213, 94, 0]])
    return fromarray(np.kron(np.tile(colours_L3.astype(np.uint8), (6, 1, 1)), np.ones((8, 8, 1), np.uint8)))


def main() -> None:
    st.set_page_config(page_title="hsray", page_icon=_icon(), layout="wide")
    # Asked of both: the command has seen the secrets file, Streamlit has understood it.
    if (settings().sign_in or "is_logged_in" in st.user) and not st.user.get("is_logged_in", False):
        st.title("hsray")
        st.button("Sign in", on_click=st.login, type="primary")
        return
    st.html(f"<style>{STYLE}</style>")
    page = st.navigation(PAGES, position="top")
    try:
        page.run()
    except HsrayError as error:
        st.error(fault(error))


main()
