from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.analysis import judge
from veridical.data.perturbations import jpeg, resize
from veridical.detectors import list_detectors, load_detector
from veridical.detectors.retrieval import FALSE_HIT_ENTRIES, LEAST_COSINE, Retrieval, embedding
from veridical.detectors.retrieval.embedding import embed
from veridical.detectors.retrieval.index import (
    EMBEDDING_LENGTH,
    KnownPicture,
    index_path,
    read_index,
    write_index,
)
from veridical.errors import MissingExtraError, ModelError
from veridical.explanation.facts import fact_in_words
from veridical.extras import install_command
from veridical.media import Image
from veridical.media.fingerprint import dhash, pdq
from veridical.models.wheels import CLIP_VIT_B16
from veridical.results import Label, Score, Verdict

EXAMPLES = Path(__file__).parents[2] / "examples"


def picture(seed: int, side: int = 400) -> np.ndarray:
    """Soft blobs of colour, with the detail and the correlation of a photograph."""
    return resize(np.random.default_rng(seed).integers(0, 256, (11, 13, 3), np.uint8), side / 12)


def entry(seed: int, label: Label, *, with_pdq: bool = False) -> KnownPicture:
    pixels = picture(seed)
    hashed = pdq(pixels).hash if with_pdq else None
    return KnownPicture(dhash(pixels), label, "album", f"{seed}.jpg", hashed)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    monkeypatch.delenv("VERIDICAL_INDEX", raising=False)


def knowing(*entries: KnownPicture) -> Retrieval:
    write_index(index_path("known"), entries)
    return Retrieval(read_index(index_path("known")))


def score_of(detector: Retrieval, pixels: np.ndarray) -> Score:
    return detector.detect(Image.of(pixels))


def words(score: Score) -> tuple[str, ...]:
    return tuple(map(fact_in_words, score.facts))


def verdict_of(detector: Retrieval, pixels: np.ndarray) -> Verdict:
    return detector.thresholds.decide(score_of(detector, pixels).probability)


def test_a_halved_and_resaved_copy_of_a_known_picture_is_found_and_another_is_not() -> None:
    detector = knowing(entry(1, Label.REAL), entry(2, Label.FAKE))
    assert verdict_of(detector, jpeg(resize(picture(1), 0.5), 75)) is Verdict.REAL
    assert verdict_of(detector, jpeg(resize(picture(2), 0.5), 75)) is Verdict.AI
    assert verdict_of(detector, picture(3)) is Verdict.UNSURE
    assert score_of(detector, picture(3)).probability == 0.5


def test_the_evidence_names_what_was_matched_and_how_nearly() -> None:
    evidence = words(score_of(knowing(entry(1, Label.REAL)), picture(1)))
    assert evidence[0] == (
        "It resembles a picture known as real: 1.jpg of 'album' (0 of 64 bits of the dHash differ)."
    )
    assert any("by chance" in sentence for sentence in evidence)
    assert any("altered in small parts" in sentence for sentence in evidence)


def test_pdq_finds_what_dhash_has_lost() -> None:
    pytest.importorskip("pdqhash")
    known = entry(1, Label.FAKE, with_pdq=True)._replace(dhash=~dhash(picture(1)) & 2**64 - 1)
    detector = knowing(known)
    score = score_of(detector, jpeg(picture(1), 75))
    assert detector.thresholds.decide(score.probability) is Verdict.AI
    assert "bits of the PDQ hash differ" in words(score)[0]
    assert "dHash" not in words(score)[0]


def test_an_index_with_pdq_hashes_needs_the_library_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        knowing(entry(1, Label.REAL)._replace(pdq=bytes(32)))
    assert caught.value.hint == install_command("retrieval")


def test_a_picture_that_looks_like_real_and_ai_ones_alike_gets_no_verdict() -> None:
    score = score_of(knowing(entry(1, Label.REAL), entry(1, Label.FAKE)), picture(1))
    assert score.probability == 0.5
    assert words(score)[-1] == "Real and AI-generated pictures look like it, so nothing follows."


def test_a_flat_picture_is_never_known_though_its_hash_is_in_the_index() -> None:
    flat = np.full((64, 64, 3), 200, np.uint8)
    assert score_of(knowing(KnownPicture(dhash(flat), Label.REAL, "s", "n")), flat).probability == 0.5


def test_the_larger_the_index_the_less_certain_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = knowing(entry(1, Label.REAL))
    probabilities = []
    for entries in (1, 10 * FALSE_HIT_ENTRIES, 1000 * FALSE_HIT_ENTRIES):
        monkeypatch.setattr(type(detector._index), "__len__", lambda _, entries=entries: entries)
        probabilities.append(score_of(detector, picture(1)).probability)
    assert probabilities[0] == pytest.approx(0.005)
    assert probabilities[1] == pytest.approx(0.0205)
    assert probabilities[2] == pytest.approx(0.5)


def test_many_matches_are_counted_and_only_the_nearest_named() -> None:
    near = [entry(1, Label.REAL)._replace(name=f"{i}.jpg") for i in range(9)]
    evidence = words(score_of(knowing(*near), picture(1)))
    assert sum("known as real" in sentence for sentence in evidence) == 3
    assert "It resembles 6 further known pictures." in evidence


def test_an_index_of_another_content_is_another_detector() -> None:
    one, other = knowing(entry(1, Label.REAL)).sha256, knowing(entry(1, Label.FAKE)).sha256
    assert one != other


def test_without_an_index_the_user_is_told_how_to_make_one() -> None:
    assert "retrieval" not in list_detectors()
    with pytest.raises(ModelError) as caught:
        load_detector("retrieval")
    assert caught.value.code == "missing_index"
    assert "veridical index build" in (caught.value.hint or "")


def test_indexes_are_detectors_by_name_by_path_and_by_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(index_path("default"), [entry(1, Label.REAL)])
    write_index(index_path("press"), [entry(2, Label.REAL)])
    assert {"retrieval", "retrieval:default", "retrieval:press"} <= set(list_detectors())
    press = load_detector("retrieval:press")
    assert press.name == "retrieval:press"
    assert load_detector(f"retrieval:{index_path('press')}").sha256 == press.sha256
    assert load_detector("retrieval").sha256 != press.sha256
    monkeypatch.setenv("VERIDICAL_INDEX", str(index_path("press")))
    assert load_detector("retrieval").sha256 == press.sha256


def test_the_report_of_a_file_tells_what_it_matched() -> None:
    held = io.BytesIO()
    PIL.Image.fromarray(picture(1)).save(held, "PNG")
    report = judge(held.getvalue(), path=None, detector=knowing(entry(1, Label.FAKE))).report
    assert report.verdict is Verdict.AI
    assert any("known as AI-generated: 1.jpg of 'album'" in sentence for sentence in report.evidence)


def test_of_an_animation_the_evidence_is_that_of_the_frame_that_is_known() -> None:
    held = io.BytesIO()
    frames = [PIL.Image.fromarray(picture(seed)) for seed in (4, 1, 5)]
    frames[0].save(held, "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    report = judge(held.getvalue(), path=None, detector=knowing(entry(1, Label.FAKE))).report
    assert any("1.jpg of 'album'" in sentence for sentence in report.evidence)


@pytest.fixture
def network() -> None:
    try:
        CLIP_VIT_B16.read()
    except ModelError as error:
        pytest.skip(f"{error.message} {error.hint}")


def test_a_mirrored_copy_is_named_by_its_embedding_but_decides_nothing(network: None) -> None:
    known = np.asarray(PIL.Image.open(EXAMPLES / "real_coffee.png").convert("RGB"))
    other = np.asarray(PIL.Image.open(EXAMPLES / "real_astronaut.png").convert("RGB"))
    entries = [
        KnownPicture(dhash(each), Label.REAL, "album", name, embedding=embed(each))
        for name, each in (("coffee", known), ("astronaut", other))
    ]
    detector = knowing(*entries)
    mirrored = np.ascontiguousarray(known[:, ::-1])
    (match,) = detector.find(mirrored)
    assert match.entry.name == "coffee"
    assert match.cosine is not None
    assert match.cosine > LEAST_COSINE
    score = score_of(detector, mirrored)
    assert score.probability == 0.5
    assert "shows much the same as a picture known as real: coffee" in words(score)[-1]
    assert "nothing follows" in words(score)[-1]


def test_an_embedding_has_length_one_whatever_the_shape_of_the_picture(network: None) -> None:
    for shape in ((40, 300, 3), (300, 40, 3), (224, 224, 3)):
        vector = np.frombuffer(embed(np.full(shape, 99, np.uint8)), "<f2").astype(np.float64)
        assert vector.shape == (EMBEDDING_LENGTH,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)


def test_without_the_network_an_index_with_embeddings_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERIDICAL_CLIP_WHEEL", str(tmp_path / "nowhere.whl"))
    embedding._session.cache_clear()
    direction = np.eye(1, EMBEDDING_LENGTH, dtype="<f2").tobytes()
    detector = knowing(KnownPicture(1, Label.REAL, "album", "a", embedding=direction))
    with pytest.raises(ModelError, match=r"nowhere\.whl gives no") as caught:
        detector.find(picture(1))
    assert "pip install" in (caught.value.hint or "")
