"""The child's side of the fence: limits first, then imports, then no more files, then the untrusted bytes."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from importlib import import_module

OUT_OF_MEMORY = 12  # exit status; ENOMEM

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Read one request from stdin, answer it on stdout, and leave without any clean-up."""
    request = json.loads(sys.stdin.buffer.readline())
    limits = request["limits"]
    limit_resources(limits["child_address_bytes"], limits["child_cpu_seconds"])
    leave_the_network()
    module = import_module(request["module"])
    module.load(request["options"])
    data = sys.stdin.buffer.read(request["bytes"])
    forbid_opening()
    try:
        header, parts = module.run(data, request["options"])
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    out = sys.stdout.buffer
    out.write(json.dumps(header | {"bytes": sum(memoryview(part).nbytes for part in parts)}).encode() + b"\n")
    for part in parts:
        out.write(part)
    out.flush()
    os._exit(0)  # destructors of damaged decoders have crashed before; the answer is already out


def limit_resources(address_bytes: int, cpu_seconds: int) -> None:
    """Bound address space and CPU time; forbid core dumps and written files."""
    own = resource.getrlimit(resource.RLIMIT_AS)[1]  # of this user or container; it cannot be raised
    address_bytes = address_bytes if own == resource.RLIM_INFINITY else min(address_bytes, own)
    resource.setrlimit(resource.RLIMIT_AS, (address_bytes, address_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def leave_the_network() -> None:
    """Enter an empty network namespace and renounce new privileges, where the kernel allows it.

    Containers often forbid namespaces; `forbid_opening` then still leaves no way to make a socket.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def forbid_opening() -> None:
    """From here on no file, socket or pipe can be opened; stdin and stdout stay as they are."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
