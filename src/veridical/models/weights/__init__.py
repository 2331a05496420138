"""The bundles that are shipped in the package, one folder each.

`PINNED` maps the name of a shipped bundle to the sha256 of its `card.json`. The graph of a pinned bundle
was checked when it was embedded (and is again by our tests), so reading it skips that check and with it
the import of `onnx`. Its hashes are verified like everyone else's.
"""

from __future__ import annotations

PINNED: dict[str, str] = {
    "clip_aligned": "be0454f7c46d585ef8132014d675b1950bf9978f6eef144ade9f39b0114ba6c0",
    "npr_shared": "3dffa7fbfdbe1f89aac20a49d069a3af4a95025a27f90cd2da260cf57151159e",
}
