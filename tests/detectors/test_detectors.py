from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from veridical.detectors import Detector, LiveDetector, list_detectors, load_detector
from veridical.errors import ModelError, UnknownModelError
from veridical.media.image import Image
from veridical.models.bundle import Bundle

WriteBundle = Callable[..., Bundle]

GREY = np.full((64, 64, 3), 100, np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def logit(detector: Detector) -> float:
    return detector.detect(Image.of(GREY)).logit


def test_a_bundle_in_the_cache_is_listed_and_loaded_by_name(cache: Path, write_tiny: WriteBundle) -> None:
    written = write_tiny(cache / "bundles" / "mine")
    assert {"constant", "random", "mine"} <= set(list_detectors())
    assert load_detector("mine").sha256 == written.sha256


def test_an_unknown_detector_is_answered_with_the_nearest(cache: Path, write_tiny: WriteBundle) -> None:
    write_tiny(cache / "bundles" / "my_own")
    for wrong, right in {"my_won": "my_own", "konstant": "constant"}.items():
        with pytest.raises(UnknownModelError) as caught:
            load_detector(wrong)
        assert caught.value.hint is not None
        assert f"Did you mean '{right}'?" in caught.value.hint


def test_a_bundle_is_loaded_once_until_its_card_changes(tmp_path: Path, write_tiny: WriteBundle) -> None:
    write_tiny(tmp_path / "tiny", scale=0.01)
    first = load_detector(str(tmp_path / "tiny"))
    assert load_detector(str(tmp_path / "tiny")) is first

    write_tiny(tmp_path / "tiny", scale=0.02)
    second = load_detector(str(tmp_path / "tiny"))
    assert second is not first
    assert (logit(first), logit(second)) == pytest.approx((1, 2))


def test_a_live_detector_follows_its_bundle(tmp_path: Path, write_tiny: WriteBundle) -> None:
    write_tiny(tmp_path / "tiny", scale=0.01)
    live = LiveDetector(str(tmp_path / "tiny"))
    before = live.current()
    assert live.current() is before

    newer = write_tiny(tmp_path / "tiny", scale=0.02)

    assert live.current().sha256 == newer.sha256
    assert logit(live.current()) == pytest.approx(2)
    assert logit(before) == pytest.approx(1)  # a request that began on the old one ends on it
    assert live.error is None


def test_a_bundle_that_fails_its_self_test_is_not_taken(
    tmp_path: Path, write_tiny: WriteBundle, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiny(tmp_path / "tiny", scale=0.01)
    live = LiveDetector(str(tmp_path / "tiny"))
    write_tiny(tmp_path / "tiny", scale=3e38)

    with caplog.at_level(logging.ERROR):
        assert logit(live.current()) == pytest.approx(1)
        assert logit(live.current()) == pytest.approx(1)

    assert live.error is not None
    assert live.error.code == "self_test_failed"
    assert len(caplog.records) == 1  # said once, not at every request

    write_tiny(tmp_path / "tiny", scale=0.02)
    assert logit(live.current()) == pytest.approx(2)
    assert live.error is None


def test_a_damaged_or_vanished_bundle_leaves_the_old_one_serving(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    folder = tmp_path / "tiny"
    write_tiny(folder, scale=0.01)
    live = LiveDetector(str(folder))

    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    assert logit(live.current()) == pytest.approx(1)
    assert live.error is not None
    assert live.error.code == "hash_mismatch"

    shutil.rmtree(folder)
    assert logit(live.current()) == pytest.approx(1)
    assert live.error.code == "malformed_bundle"


def test_a_bundle_copied_file_by_file_is_taken_once_it_is_whole(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    folder = tmp_path / "tiny"
    write_tiny(folder, scale=0.01)
    newer = write_tiny(tmp_path / "newer", scale=0.02)
    live = LiveDetector(str(folder))

    shutil.copy(newer.folder / "card.json", folder)
    assert logit(live.current()) == pytest.approx(1)
    shutil.copy(newer.folder / "model.onnx", folder)
    assert logit(live.current()) == pytest.approx(2)


def test_a_live_detector_does_not_start_on_a_broken_bundle(tmp_path: Path, write_tiny: WriteBundle) -> None:
    write_tiny(tmp_path / "tiny", scale=3e38)
    with pytest.raises(ModelError) as caught:
        LiveDetector(str(tmp_path / "tiny"))
    assert caught.value.code == "self_test_failed"


def test_while_one_request_loads_the_new_bundle_the_others_go_on_with_the_old(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    write_tiny(tmp_path / "tiny", scale=0.01)
    live = LiveDetector(str(tmp_path / "tiny"))
    write_tiny(tmp_path / "tiny", scale=0.02)
    with live._swapping, ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: logit(live.current())).result(timeout=30) == pytest.approx(1)
    assert logit(live.current()) == pytest.approx(2)


def test_a_detector_without_files_is_live_too() -> None:
    live = LiveDetector("constant")
    assert live.current() is live.current()
    assert live.current().name == "constant"


def test_under_load_each_request_is_answered_by_the_old_bundle_or_the_new_and_none_fails(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    folder = tmp_path / "tiny"
    scales = [0.01, 0.02, 0.03]
    bundles = {write_tiny(tmp_path / f"{scale}", scale=scale).sha256: scale for scale in scales}
    write_tiny(folder, scale=scales[0])
    live = LiveDetector(str(folder))
    done = threading.Event()
    answers: set[tuple[str, float]] = set()
    problems: list[BaseException] = []

    def ask_again_and_again() -> None:
        try:
            while not done.is_set():
                detector = live.current()
                answers.add((detector.sha256, round(logit(detector), 3)))
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            problems.append(error)

    threads = [threading.Thread(target=ask_again_and_again) for _ in range(3)]
    for thread in threads:
        thread.start()
    for index in range(12):
        write_tiny(folder, scale=scales[index % 3])
    done.set()
    for thread in threads:
        thread.join()

    assert problems == []
    assert live.error is None
    assert answers <= {(sha256, round(100 * scale, 3)) for sha256, scale in bundles.items()}
    assert live.current().sha256 == write_tiny(tmp_path / "last", scale=scales[11 % 3]).sha256
