"""CPU time and peak memory of judging a decoded picture of one megapixel, for several detectors.

    .venv/bin/python benchmarks/cost.py npr_shared constant random runs/bundles/*

Each detector has a process of its own, which loads it and judges one picture to warm up; then all are asked in
turn, a picture each, until all rounds are done. Interleaved like that, what else the machine does falls on all
of them alike. The time is user + system CPU time on one thread, without decoding and without starting; the
memory is the peak of the whole process, Python and ONNX Runtime included, so that of `constant` is the floor.

Written to benchmarks/costs.json, which scripts/detectors shows: by the detector's sha256, so that a number is
never shown for another bundle than the measured one.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_name("costs.json")
SIDE = 1000


def main() -> None:
    """Measure and write, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detectors", nargs="+")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(arguments.detectors[0])
        return
    measured = measure(arguments.detectors, arguments.rounds)
    facts = {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "picture": f"{SIDE} x {SIDE} pixels",
        "rounds": arguments.rounds,
    }
    RESULT.write_text(json.dumps({**facts, "detectors": measured}, indent=2) + "\n", encoding="utf-8")
    for cost in sorted(measured.values(), key=lambda cost: cost["cpu_ms"]):
        print(f"{cost['name']:<24} {cost['cpu_ms']:9.2f} CPU ms  {cost['peak_mib']:6.0f} MiB")


def measure(detectors: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Median CPU milliseconds a picture and peak MiB of each detector, by its sha256."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--answer", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in detectors
    ]
    told = [json.loads(ask(process, "load")) for process in processes]
    times = [[float(ask(process, "judge")) for process in processes] for _ in range(rounds)]
    peaks = [float(ask(process, "peak")) for process in processes]
    for process in processes:
        process.communicate()
    return {
        facts.pop("sha256"): {**facts, "cpu_ms": round(statistics.median(column), 2), "peak_mib": round(peak)}
        for facts, column, peak in zip(told, zip(*times, strict=True), peaks, strict=True)
    }


def ask(process: subprocess.Popen[str], question: str) -> str:
    """A process's answer; ends the whole measurement if it has failed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args!r} failed")
    return line


def answer(name: str) -> None:
    """Load a detector and judge whenever asked."""
    import time

    import numpy as np

    from veridical.detectors import load_detector
    from veridical.media import Image

    detector = load_detector(name)
    picture = Image.of(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    detector.detect(picture)
    for line in sys.stdin:
        match line.strip():
            case "load":
                parameters = detector.card.parameters if detector.card else None
                reply = json.dumps({"sha256": detector.sha256, "name": detector.name, "parameters": parameters})
            case "judge":
                start = time.process_time()
                detector.detect(picture)
                reply = str(1000 * (time.process_time() - start))
            case _:
                reply = str(peak_mib())
        print(reply, flush=True)


def peak_mib() -> float:
    """Of this process; `ru_maxrss` would count the process that started it too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def machine() -> str:
    """Its processor, as Linux tells it."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else platform.machine()}, one thread"


if __name__ == "__main__":
    main()
