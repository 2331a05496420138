"""Hostile text made harmless: names and messages that come from files nobody trusts.

A file name may hold terminal escapes, line ends, characters that turn the direction of writing, spreadsheet
formulas, markup, and bytes that are not UTF-8. `path` in JSON keeps every name exactly; the formats for people
show what cannot be seen.
"""

from __future__ import annotations

import re
from pathlib import Path

# C0 and C1 controls (a terminal takes U+009B for the start of an escape sequence), line and paragraph
# separators, marks and overrides of writing direction, lone surrogates, and the byte order mark.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#+!|~<>&$])")


def visible(text: str) -> str:
    r"""The text on one line, with every character that acts instead of showing written as an escape.

    >>> print(visible("holiday\x1b[2J\n.jpg"))
    holiday\x1b[2J\n.jpg
    """
    return _UNSEEN.sub(_escape, text)


def portable_name(name: str) -> str:
    r"""The name, or its `file:` URI where it holds bytes that are not UTF-8, which JSON cannot carry.

    The URI percent-encodes the bytes on disk, so the file can be found again (`urllib.parse.unquote_to_bytes`).

    >>> portable_name("photo.jpg")
    'photo.jpg'
    >>> portable_name("/tmp/caf\udce9.jpg")
    'file:///tmp/caf%E9.jpg'
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return Path(name).absolute().as_uri()
    return name


def json_line(text: str) -> str:
    """A JSON text on what every reader takes for one line, of the same value, harmless on a terminal.

    JSON leaves C1 controls and U+2028 as they are; `str.splitlines` and terminals do not.
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def csv_cell(text: str) -> str:
    """The text for one cell: no spreadsheet runs it as a formula.

    >>> csv_cell("=1+1")
    "'=1+1"
    """
    return visible(f"'{text}" if text.startswith(_FORMULA_STARTS) else text)


def markdown_cell(text: str) -> str:
    """The text for one cell of a Markdown table: no markup, no HTML, no second column."""
    return _MARKDOWN.sub(r"\\\1", visible(text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _NAMED.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
