"""Detectors that give a score at run time: bundles by name, and the detectors of this folder.

A file here adds detectors by a dictionary `DETECTORS`, from their names to what makes them; or a family of
them, `FILE:ARGUMENT`, as `Family` says.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from veridical.detectors.base import Detector
from veridical.detectors.bundle import BundleDetector
from veridical.errors import ErrorInfo, ModelError, UnknownModelError, did_you_mean
from veridical.models.bundle import CARD, read_bundle
from veridical.models.card import sha256_of
from veridical.models.store import FoundBundle, find_bundle, list_bundles
from veridical.models.weights import PINNED

__all__ = ["DEFAULT_DETECTOR", "Detector", "LiveDetector", "families", "list_detectors", "load_detector"]

DEFAULT_DETECTOR = "clip_spread"

_loaded: dict[str, BundleDetector] = {}
_loading = threading.Lock()
# A session holds all its parameters in memory.
_MOST_LOADED = 4


def load_detector(name: str = "default") -> Detector:
    """The detector of that name: one of `list_detectors()`, a bundle's folder, a hub's bundle by
    `hf:owner/name@revision`, or one of a family: `retrieval:`, `fusion:`, `mixture:`, `hub:` and its argument.

    A bundle that did not change since it was last asked for is not loaded again. Raises `ModelError`, of
    which `UnknownModelError` names the known ones.
    """
    found = _find(name)
    return found() if callable(found) else _load_bundle(found.folder)


def list_detectors() -> list[str]:
    """The names that `load_detector` knows on this machine."""
    of_families = {
        f"{family}:{name}" if name else family
        for family, module in families().items()
        for name in module.names()
    }
    return sorted({bundle.name for bundle in list_bundles()} | _plugins().keys() | of_families)


class Family(Protocol):
    """A file that makes detectors of one kind; `NEEDS` says what has to be there before it can."""

    NEEDS: str

    def load(self, argument: str) -> Detector:
        """The detector of an argument; of "", its usual one, if it has one. Raises `ModelError`."""

    def names(self) -> list[str]:
        """The arguments that it knows on this machine."""


def families() -> dict[str, Family]:
    """Each kind of detectors by the name of its file."""
    # cast: a module is not seen to have the functions that hasattr found in it
    return {name: cast(Family, module) for name, module in _modules().items() if hasattr(module, "names")}


class LiveDetector:
    """A detector that follows its bundle on disk, for processes that run long.

    `current()` is what judges now. After the bundle was replaced, the next call loads the new one and tests
    it; if that fails, the old one stays, `error` says why, and the files are looked at again when they change.
    """

    def __init__(self, name: str = "default") -> None:
        """Loads and tests it; raises `ModelError`."""
        self.error: ErrorInfo | None = None
        self._swapping = threading.Lock()
        found = _find(name)
        self._folder = None if callable(found) else found.folder
        self._stamp = _stamp(self._folder)
        self._detector: Detector = found() if callable(found) else _load_tested(found.folder)

    def current(self) -> Detector:
        """The detector to use now; hold it for one request, so that the request ends on what it began with."""
        # Whoever comes while another loads goes on with the old one rather than wait.
        if _stamp(self._folder) != self._stamp and self._swapping.acquire(blocking=False):
            try:
                self._follow()
            finally:
                self._swapping.release()
        return self._detector

    def _follow(self) -> None:
        stamp = _stamp(self._folder)
        if self._folder and stamp != self._stamp:
            self._swap(self._folder)
            self._stamp = stamp

    def _swap(self, folder: Path) -> None:
        import logging  # 10 ms of the start of a program that never swaps

        log = logging.getLogger(__name__)
        try:
            self._detector = _load_tested(folder)
            self.error = None
            log.info("now judging with %s %s", self._detector.name, self._detector.sha256[:12])
        except ModelError as error:
            self.error = error.info
            log.error("kept %s: the new bundle fails: %s", self._detector.sha256[:12], error.message)


def _find(name: str) -> FoundBundle | Callable[[], Detector]:
    wanted = DEFAULT_DETECTOR if name == "default" else name
    if wanted in PINNED:  # whose names nothing else can take: the other files need not be imported
        return find_bundle(wanted)
    if plugin := _plugins().get(wanted):
        return plugin
    family, _, argument = wanted.partition(":")
    if module := families().get(family):
        return functools.partial(module.load, argument)
    try:
        return find_bundle(wanted)
    except UnknownModelError as error:
        raise UnknownModelError(
            f"There is no detector {wanted!r}.", hint=did_you_mean(wanted, list_detectors())
        ) from error


def _plugins() -> dict[str, Callable[[], Detector]]:
    found: dict[str, Callable[[], Detector]] = {}
    for module in _modules().values():
        found |= getattr(module, "DETECTORS", {})
    return found


def _modules() -> dict[str, ModuleType]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def _load_bundle(folder: Path) -> BundleDetector:
    with _loading:
        sha256 = _card_sha256(folder)
        if sha256 not in _loaded:
            detector = BundleDetector(read_bundle(folder))
            sha256 = detector.sha256
            _loaded[sha256] = detector
            while len(_loaded) > _MOST_LOADED:
                del _loaded[next(iter(_loaded))]
        return _loaded[sha256]


def _card_sha256(folder: Path) -> str | None:
    try:
        return sha256_of((folder / CARD).read_bytes())
    except OSError:
        return None  # read_bundle says what is wrong


def _load_tested(folder: Path) -> BundleDetector:
    detector = BundleDetector(read_bundle(folder))
    detector.self_test()
    return detector


def _stamp(folder: Path | None) -> tuple[tuple[str, int, int, int], ...]:
    """Changes when a file of the folder does; cheap enough for every request."""
    try:
        paths = sorted(folder.iterdir()) if folder else []
        status = [(path.name, path.stat()) for path in paths]
    except OSError:
        return ()
    return tuple((name, s.st_ino, s.st_mtime_ns, s.st_size) for name, s in status)
