"""Images: what two finals predict on the same scene, where they differ, and the spectrum at a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
import streamlit as st

from hsray.dashboards.filters import fractions, newest_first, one_of, values
from hsray.dashboards.mirrored import finals, mirror, runs
from hsray.dashboards.picker import choose_pixel
from hsray.dashboards.pictures import (
    STANDING,
    Predictions,
    changed,
    data_url,
    read_predictions,
    standing,
)
from hsray.dashboards.settings import settings
from hsray.dashboards.sheets import key
from hsray.dashboards.spectra import spectrum_at
from hsray.dashboards.testimages import Final, choose_image, of_image
from hsray.dashboards.words import fault, plain
from hsray.errors import HsrayError
from hsray.leaderboard.predictions import PREDICTIONS

NOBODY = "–"


def page() -> None:
    st.title("Images")
    found = runs()
    if found is None:
        return
    complete = found.filter(pl.col("kind") == "final", pl.col("state") == "complete")
    if not len(complete):
        st.info("no final is complete yet; finals leave the predictions that are shown here", icon=":material/image:")
        return
    picked = _pick(complete)
    if picked is None:
        return
    a, b = picked.a, picked.b
    only_labelled = st.toggle("predictions only where there are labels", value=True, key="only", bind="query-params")
    maps = [("pseudo-RGB", a.rgb_HW3), ("labels", a.coloured(a.labels_HW, only_labelled=True))]
    for side, name, final in (("A", picked.name_a, a), ("B", picked.name_b, b)):
        if final is not None:
            shown = final.coloured(final.prediction_HW, only_labelled=only_labelled)
            score = "no labels" if math.isnan(final.score) else f"{100 * final.score:.1f} %"
            maps.append((f"{side}: {name}, {score}", shown))
    counts: dict[str, int] = {}
    if b is not None:
        picture, counts = standing(a, b)
        maps.append(("where they differ", picture))
    height, width = a.labels_HW.shape
    of = "on this image" if picked.image else "on the whole test set"
    st.caption(f"The score is the final's mean Jaccard {of}. Click a pixel; arrow keys move it.")
    pixel = choose_pixel([(title, data_url(picture)) for title, picture in maps], height, width)
    _legends(a, counts)
    if pixel is not None:
        _pixel(picked, pixel)


@dataclass(frozen=True)
class Picked:
    """What is shown: a final, and perhaps another to set it against, on a test image (None: the finals' example)."""

    dataset: str
    image: str | None
    name_a: str
    a: Predictions
    name_b: str
    b: Predictions | None


def _pick(complete: pl.DataFrame) -> Picked | None:
    columns = st.columns(3)
    with columns[0]:
        experiment = one_of("Experiment", newest_first(complete), "experiment")
    found = finals(experiment).filter(pl.col("fraction").is_not_null())
    if not len(found):
        st.info("no final of this experiment counts", icon=":material/image:")
        return None
    with columns[1]:
        dataset = one_of("Dataset", values(found, "dataset"), "dataset")
    found = found.filter(pl.col("dataset") == dataset)
    with columns[2]:
        labels = fractions(found)
        fraction = one_of("Training images", labels, "fraction", first=len(labels) - 1)
    found = found.filter(pl.col("fraction") == fraction)
    columns = st.columns(3)
    variants = values(found, "variant")
    with columns[0]:
        a = one_of("A", variants, "a")
    with columns[1]:
        b = one_of("B", [NOBODY, *variants], "b", first=2 if len(variants) > 1 else 0)
    seeds = [set(found.filter(pl.col("variant") == one)["seed"].to_list()) for one in (a, b) if one != NOBODY]
    with columns[2]:
        seed = one_of("Seed", sorted(set.intersection(*seeds) or seeds[0]), "seed")
    of_a, of_b = (_final(found, one, seed) if one != NOBODY else None for one in (a, b))
    for name, of in ((a, of_a), (b, of_b)):
        if of is None and name != NOBODY:
            st.info(plain(f"{name} left no predictions under seed {seed}"), icon=":material/hide_image:")
    return None if of_a is None else _on_image(dataset, of_a, of_b)


def _final(found: pl.DataFrame, variant: str, seed: int) -> Final | None:
    one = found.filter(pl.col("variant") == variant, pl.col("seed") == seed).sort("started_ms", "run_id")
    if not len(one):
        return None
    path = mirror().artifact(one["run_id"][-1], PREDICTIONS)
    return None if path is None else Final(variant, one["run_id"][-1], read_predictions(str(path), changed(path)))


def _on_image(dataset: str, a: Final, b: Final | None) -> Picked:
    """The two on the image that is chosen, where there is a choice and the prepared dataset is there."""
    try:
        image = choose_image(a, b)
        if image is not None:
            of_a, of_b = of_image(a, dataset, image), of_image(b, dataset, image) if b else None
            return Picked(dataset, image, a.name, of_a, b.name if b else NOBODY, of_b)
    except HsrayError as error:
        st.info(fault(error) + "\n\nSo the example is shown that finals keep.", icon=":material/hide_image:")
    if b is not None and not np.array_equal(a.example.labels_HW, b.example.labels_HW):
        st.warning("A and B were scored on other labels, so they cannot be set against each other")
        b = None
    return Picked(dataset, None, a.name, a.example, b.name if b else NOBODY, b.example if b else None)


def _legends(a: Predictions, counts: dict[str, int]) -> None:
    parts = [key(dict(a.classes))]
    if counts:
        whole = max(1, sum(counts.values()))
        parts.append(key({f"{name} {100 * n / whole:.1f} %": f"rgb{STANDING[name]}" for name, n in counts.items()}))
    st.html(f'<div class="hsray">{"".join(parts)}</div>')


def _pixel(picked: Picked, pixel: tuple[int, int]) -> None:
    import altair as alt

    row, column = pixel
    a, b = picked.a, picked.b
    names = {"label": a.labels_HW, "A": a.prediction_HW} | ({"B": b.prediction_HW} if b else {})
    st.subheader(f"Pixel at row {row}, column {column}")
    words = [f"{who}: **{plain(_class(a, int(map_HW[row, column]), who))}**" for who, map_HW in names.items()]
    st.markdown(" · ".join(words))
    try:
        where, spectrum = spectrum_at(
            settings().data, picked.dataset, picked.image, row, column, int(a.labels_HW[row, column])
        )
    except HsrayError as error:
        do = f" ({error.do})" if error.do else ""
        st.info(plain(f"no spectrum: {error.what}{do}"), icon=":material/ssid_chart:")
        return
    chart = alt.Chart(spectrum).mark_line(color="#0072B2", strokeWidth=2).encode(
        x=alt.X("nm:Q", title="wavelength (nm)", scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("value:Q", title="value as stored", scale=alt.Scale(zero=False)),
        tooltip=[alt.Tooltip("nm:Q", format=".1f"), alt.Tooltip("value:Q", format=".4g")],
    )  # fmt: skip
    st.altair_chart(chart.properties(height=260), width="stretch")
    st.caption(plain(where))


def _class(a: Predictions, number: int, who: str) -> str:
    if number != a.ignore_id:
        return a.class_names[number]
    return "none" if who == "label" else "not predicted here"
