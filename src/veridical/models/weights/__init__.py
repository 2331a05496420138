"""The bundles that are shipped in the package, one folder each.

`PINNED` maps the name of a shipped bundle to the sha256 of its `card.json`. The graph of a pinned bundle
was checked when it was embedded (and is again by our tests), so reading it skips that check and with it
the import of `onnx`. Its hashes are verified like everyone else's.
"""

from __future__ import annotations

PINNED: dict[str, str] = {
    "clip_spread": "32e7100c954d6507a4db8fcae14868a12ac53dea712c53d9e5433681ec504349",
    "npr_shared": "c6c3aa1fe9abb39f181ac914fb360ef8e971c34009f61d37ce07c219ff02fbec",
}
