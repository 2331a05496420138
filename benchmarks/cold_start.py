"""CPU time of judging one picture from a cold start, against a script that imports torch and Pillow.

Both are whole processes that run the same network with the same parameters on the same view of the same
picture, interleaved; the figure is user + system CPU time, because wall time on shared cores means nothing.

    python benchmarks/cold_start.py examples/real_rocket.jpg --checkpoint runs/clip_spread/best.safetensors

With --write it goes to benchmarks/cold_starts.json, by the sha256 of the bundle's card; scripts/cards shows it.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import veridical
from veridical.detectors import DEFAULT_DETECTOR
from veridical.models.card import sha256_of
from veridical.models.store import find_bundle

RESULT = Path(__file__).with_name("cold_starts.json")

_PEER = """
import importlib, json, sys
import numpy, PIL.Image, torch
from safetensors import safe_open
from veridical.detectors.bundle import crop_views
from veridical.models.card import parse_card
from pathlib import Path
picture, card, checkpoint = sys.argv[1:]
card = parse_card(Path(card).read_bytes())
torch.set_num_threads(1)
with safe_open(checkpoint, "pt") as file:
    settings = json.loads(file.metadata()["veridical"]).get("settings", {})
    parameters = {name: file.get_tensor(name) for name in file.keys()}
model = importlib.import_module(f"veridical.architectures.{card.architecture}").build(**settings)
model.load_state_dict(parameters)
model.eval()
pixels = numpy.asarray(PIL.Image.open(picture).convert("RGB"))
with torch.inference_mode():
    for view in crop_views(pixels, card.input):
        print(model(torch.from_numpy(view[None].copy())).item())
"""


def cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of a process and its children, in seconds; raises if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the median of each and of their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, help="A bundle's name or folder.")
    parser.add_argument("--checkpoint", required=True, help="The checkpoint it was exported from.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    card = find_bundle(arguments.detector).folder / "card.json"
    program = str(Path(sys.executable).parent / "veridical")
    ours = [program, "detect", "--detector", arguments.detector, "--format", "jsonl", arguments.picture]
    peer = [sys.executable, "-c", _PEER, arguments.picture, str(card), arguments.checkpoint]
    times = [(cpu_seconds(ours), cpu_seconds(peer)) for _ in range(arguments.rounds + 1)][1:]
    ratios = [theirs / mine for mine, theirs in times]
    print(f"veridical {veridical.__version__}, {arguments.rounds} interleaved rounds after one to warm up")
    print(f"veridical detect   {statistics.median(t for t, _ in times):.3f} CPU s")
    print(f"torch and Pillow   {statistics.median(t for _, t in times):.3f} CPU s")
    print(f"ratio              {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if arguments.write:
        write(sha256_of(card.read_bytes()), times)


def write(sha256: str, times: Sequence[tuple[float, float]]) -> None:
    """Put a bundle's medians in the place of its earlier ones; those of other bundles stay."""
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    known[sha256] = {
        "cpu_s": round(statistics.median(mine for mine, _ in times), 3),
        "peer_cpu_s": round(statistics.median(theirs for _, theirs in times), 3),
        "share": round(statistics.median(mine / theirs for mine, theirs in times), 3),
    }
    RESULT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
