"""Broken and hostile versions of a file: bytes changed, cut, repeated, numbers blown up, words exchanged."""

from __future__ import annotations

import re
import struct

from hypothesis import strategies as st

WORDS = (
    b"", b"null", b"[]", b"{}", b"-1", b"0", b"1e400", b"nan", b"-inf", b"99999999999999999999", b"../../../etc/passwd",
    b"/dev/zero", b"\x00", b"\xff\xfe", b"'", b'"', b"!!python/object/apply:os.system [true]",
    b"&a [*a]", b"true", b"\n\n",
    b"\xe2\x80\xae", b"{image}", b"~", b"<<: *x", b"]" * 40, b"[" * 400, b"{a: " * 200,
)  # fmt: skip
NUMBERS = tuple(
    struct.pack(kind, value)
    for kind, values in {
        "<i": (-1, 0, 2**31 - 1, -(2**31), 65536),
        ">i": (2**31 - 1, 65536),
        "<q": (-1, 2**62, 2**40),
        "<d": (float("nan"), 1e308),
        "<H": (65535,),
    }.items()
    for value in values
)
TOKEN = re.compile(rb"-?\d+(?:\.\d+)?|[A-Za-z_][\w.-]*")


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """One to six mutations of a file."""
    content = whole
    for _ in range(draw(st.integers(1, 6))):
        content = draw(st.sampled_from(KINDS))(draw, content)
    return content


def _flip(draw: st.DrawFn, content: bytes) -> bytes:
    if not content:
        return content
    place = draw(st.integers(0, len(content) - 1))
    return content[:place] + bytes([content[place] ^ draw(st.integers(1, 255))]) + content[place + 1 :]


def _number(draw: st.DrawFn, content: bytes) -> bytes:
    number, place = draw(st.sampled_from(NUMBERS)), draw(st.integers(0, len(content)))
    return content[:place] + number + content[place + len(number) :]


def _cut(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: draw(st.integers(0, len(content)))]


def _remove(draw: st.DrawFn, content: bytes) -> bytes:
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    return content[:start] + content[end:]


def _repeat(draw: st.DrawFn, content: bytes) -> bytes:
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    place = draw(st.integers(0, len(content)))
    return content[:place] + content[start : min(end, start + 4096)] * draw(st.integers(1, 8)) + content[place:]


def _insert(draw: st.DrawFn, content: bytes) -> bytes:
    place = draw(st.integers(0, len(content)))
    return content[:place] + draw(st.sampled_from(WORDS) | st.binary(max_size=16)) + content[place:]


def _word(draw: st.DrawFn, content: bytes) -> bytes:
    """A word or number for another, of the same file or a nasty one."""
    found = list(TOKEN.finditer(content[:20_000]))
    if not found:
        return content
    one = draw(st.sampled_from(found))
    other = draw(st.sampled_from(WORDS) | st.sampled_from(found).map(lambda match: match.group()))
    return content[: one.start()] + other + content[one.end() :]


KINDS = (_flip, _number, _cut, _remove, _repeat, _insert, _word, _word)
