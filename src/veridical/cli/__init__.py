"""The command line. It prints; what it prints is decided below.

Data go to stdout, everything else to stderr. The exit code is the same in every format:

====  ====================================================================================
0     every file was judged
1     with `--fail-on`: some probability is at or above it
2     some files could not be judged (this wins over 1, as in ClamAV: the answer is incomplete)
3     the command line is wrong, or something it names cannot be used
4     the model is missing or invalid
130   interrupted with Ctrl-C; what was finished is valid output
====  ====================================================================================
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code. `argv` are the arguments without the program's name."""
    # NumPy's BLAS starts a thread per core when it is imported, which is half of that import's CPU time and
    # helps nothing here: the networks run in ONNX Runtime.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports make many objects and no garbage; looking for some after every 700 is a tenth of a cold start.
    gc.set_threshold(50_000)
    from veridical.cli._app import run

    return run(sys.argv[1:] if argv is None else list(argv))
