"""Maps of one scene side by side, in which a click (or the arrow keys) chooses a pixel."""

from __future__ import annotations

import streamlit as st

CSS = """
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(45%, 12.5rem), 1fr)); gap: .9rem; }
figure { margin: 0; min-width: 0; }
figcaption { font: 600 .85rem/1.4 var(--st-font, sans-serif); color: var(--st-text-color); padding-bottom: .25rem;
  overflow-wrap: anywhere; }
.map { position: relative; cursor: crosshair; line-height: 0; touch-action: manipulation; }
.map:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
img { width: 100%; image-rendering: pixelated; user-select: none; }
.mark { position: absolute; width: 13px; height: 13px; margin: -8px 0 0 -8px; border: 2px solid #fff;
  outline: 2px solid #000; border-radius: 50%; pointer-events: none; }
"""

JS = """
export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let root = parentElement.querySelector('.maps');
  if (!root) {
    root = document.createElement('div');
    root.className = 'maps';
    parentElement.appendChild(root);
  }
  const marks = () => root.querySelectorAll('.mark');
  const place = (row, column) => marks().forEach((mark) => {
    mark.hidden = false;
    mark.style.top = (100 * (row + 0.5) / data.height) + '%';
    mark.style.left = (100 * (column + 0.5) / data.width) + '%';
  });
  const choose = (row, column) => {
    row = Math.min(data.height - 1, Math.max(0, row));
    column = Math.min(data.width - 1, Math.max(0, column));
    root.pixel = [row, column];
    place(row, column);
    setStateValue('pixel', [row, column]);
  };
  const signature = JSON.stringify(data.maps);
  if (root.signature !== signature) {
    root.signature = signature;
    root.replaceChildren(...data.maps.map((one) => {
      const figure = document.createElement('figure');
      const caption = document.createElement('figcaption');
      caption.textContent = one.title;
      const map = document.createElement('div');
      map.className = 'map';
      map.tabIndex = 0;
      const image = document.createElement('img');
      image.src = one.url;
      image.alt = one.title;
      image.draggable = false;
      const mark = document.createElement('div');
      mark.className = 'mark';
      mark.hidden = true;
      map.append(image, mark);
      figure.append(caption, map);
      return figure;
    }));
  }
  root.pixel = data.pixel;
  marks().forEach((mark) => { mark.hidden = !data.pixel; });
  if (data.pixel) place(...data.pixel);
  root.querySelectorAll('.map').forEach((map) => {
    map.onclick = (event) => {
      const box = map.getBoundingClientRect();
      choose(
        Math.floor((event.clientY - box.top) / box.height * data.height),
        Math.floor((event.clientX - box.left) / box.width * data.width),
      );
    };
    map.onkeydown = (event) => {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const [row, column] = root.pixel || [Math.floor(data.height / 2), Math.floor(data.width / 2)];
      const size = event.shiftKey ? 10 : 1;
      choose(row + size * step[0], column + size * step[1]);
    };
  });
}
"""

MOST_DIGITS = 8  # more are no pixel, and thousands of them Python does not read

_maps = st.components.v2.component("hsray.maps", css=CSS, js=JS)


def choose_pixel(maps: list[tuple[str, str]], height: int, width: int) -> tuple[int, int] | None:
    """Show the maps (title and data URL) of a scene of that size; the pixel chosen (row, column), which the address
    holds too, or None."""
    told = read_pixel(st.query_params.get("pixel", ""), height, width)
    found = _maps(
        key="maps",
        data={
            "maps": [{"title": title, "url": url} for title, url in maps],
            "height": height, "width": width, "pixel": st.session_state.get("maps", {}).get("pixel") or told,
        },
        default={"pixel": told},
        on_pixel_change=lambda: None,
    )  # fmt: skip
    pixel = found.get("pixel")
    if not pixel or not (0 <= pixel[0] < height and 0 <= pixel[1] < width):
        return None
    row, column = int(pixel[0]), int(pixel[1])
    if told != [row, column]:
        st.query_params["pixel"] = f"{row},{column}"
    return row, column


def read_pixel(text: str, height: int, width: int) -> list[int] | None:
    """Row and column out of the address; None where they are no pixel of a picture of that size."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < MOST_DIGITS for part in parts):
        return None
    row, column = map(int, parts)
    return [row, column] if row < height and column < width else None
