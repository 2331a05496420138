"""The bundles that are shipped in the package, one folder each.

`PINNED` maps the name of a shipped bundle to the sha256 of its `card.json`. The graph of a pinned bundle
was checked when it was embedded (and is again by our tests), so reading it skips that check and with it
the import of `onnx`. Its hashes are verified like everyone else's.
"""

from __future__ import annotations

PINNED: dict[str, str] = {
    "npr_shared": "6253832934bbdbe50f4cd1d204d3c84646cacadfe12c8d31f462cb400e304fad",
}
