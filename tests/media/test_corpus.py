"""Every picture of the hostile corpus gives what its manifest expects, alone and all in one run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from veridical.errors import MediaError
from veridical.media import open_media

CORPUS = Path(os.environ.get("VERIDICAL_SHARED", Path(__file__).parents[3] / "shared")) / "corpus"
WARNINGS = {
    "frame_limit": "frames_limited",
    "metadata_partial": "metadata_partial",
    "trailing_data": "trailing_data",
}
# The manifest labels these by family, but nothing in them is damaged: a valid eXIf chunk, honoured; a JFIF
# header and a comment. They are scored, and a warning would be untrue.
SOUND_AFTER_ALL = {"metadata/F-exif-chunk-early.png", "metadata/weird_normalize_error.jpg"}
# The manifest was written when every JPEG without its end marker was refused. Its pixels are whole.
JUDGED_SINCE = {"truncated/cut_last2.jpg": "no_end_marker"}


def read_manifest() -> list[dict[str, str]]:
    path = CORPUS / "MANIFEST.tsv"
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row for row in rows if row["file"].split("/")[0] not in ("checkpoints", "lists")]


ROWS = read_manifest()
PICTURES = [row for row in ROWS if not row["file"].startswith("video/")]
VIDEOS = [row for row in ROWS if row["file"].startswith("video/")]


@pytest.mark.shared
@pytest.mark.parametrize("row", PICTURES, ids=[row["file"] for row in PICTURES])
def test_a_picture_gives_what_the_manifest_expects(row: dict[str, str]) -> None:
    path = CORPUS / row["file"]
    if row["file"] in JUDGED_SINCE:
        assert open_media(path).warnings == (JUDGED_SINCE[row["file"]],)
    elif row["expected"] == "scored":
        image = open_media(path)
        assert image.pixels.shape == (image.height, image.width, 3)
        assert image.sha256 == row["sha256"]
        if row["reason_code"] in WARNINGS and row["file"] not in SOUND_AFTER_ALL:
            assert WARNINGS[row["reason_code"]] in image.warnings
    else:
        with pytest.raises(MediaError) as caught:
            open_media(path)
        assert caught.value.code == row["reason_code"], caught.value.message


@pytest.mark.shared
@pytest.mark.parametrize("row", VIDEOS, ids=[row["file"] for row in VIDEOS])
def test_a_video_is_refused_as_an_unsupported_format(row: dict[str, str]) -> None:
    with pytest.raises(MediaError) as caught:
        open_media(CORPUS / row["file"])
    assert caught.value.code == "unsupported_format"


ALL_IN_ONE = """
import ctypes, gc, json, resource, sys
from collections import Counter
from pathlib import Path
import psutil
from veridical.errors import MediaError
from veridical.media import open_media

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss

def own_peak():
    # Not ru_maxrss: that of a new process begins with the size of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

corpus, files, warm_up = json.load(sys.stdin)
answers = {}
def judge(name):
    try:
        answers[name] = open_media(Path(corpus, name)).format
    except MediaError as error:
        answers[name] = error.code
for name in warm_up:
    judge(name)
base = resident()
for name in files:
    judge(name)
print(json.dumps({
    "codes": Counter(answers.values()),
    "answered": len(answers),
    "growth": resident() - base,
    "peak": own_peak() + 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
}))
"""


@pytest.mark.shared
def test_all_in_one_process_memory_stays_small_and_returns_to_its_base(shared: Path) -> None:
    """Peak (the process at its largest plus the largest child) under 600 MiB; growth under 48 MiB.

    The margin of growth is for decoders' own caches and the allocator's fragments; the corpus decodes to
    several hundred MiB, so that a leak of pixels would show.
    """
    files = [row["file"] for row in PICTURES]
    warm_up = [
        next(name for name in files if name.endswith(end)) for end in (".jpg", ".png", ".gif", ".webp", ".bmp")
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALL_IN_ONE],
        input=json.dumps([str(shared / "corpus"), files, warm_up]),
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert "Traceback" not in done.stderr
    assert result["answered"] == len(set(files))
    assert result["growth"] < 48 * 2**20
    assert result["peak"] < 600 * 2**20
