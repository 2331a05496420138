"""Sets of Kaggle are fetched with the user's token, which goes to Kaggle alone."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from veridical.data.samples import counts, read_samples
from veridical.data.sources import download_source
from veridical.errors import SourceError


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kaggle" / "kaggle.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"username": "ada", "key": "0123"}))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(path.parent))
    for name in ("VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return path


def archive_of_cifake() -> bytes:
    picture, archive = io.BytesIO(), io.BytesIO()
    PIL.Image.new("RGB", (32, 32)).save(picture, "JPEG")
    with zipfile.ZipFile(archive, "w") as opened:
        for split in ("train", "test"):
            for label in ("REAL", "FAKE"):
                opened.writestr(f"{split}/{label}/0000 (2).jpg", picture.getvalue())
    return archive.getvalue()


def fetch(folder: Path, most_bytes: int = 10**6) -> None:
    download_source("cifake", folder, most_bytes=most_bytes, say=print)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestOverLoopback:
    def test_cifake_is_fetched_unpacked_and_read(
        self, server: Any, make_answer: Any, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def answer(path: str, headers: dict[str, str]) -> Any:
            if path == "/storage":
                return make_answer(body=archive_of_cifake())
            return make_answer(302, headers={"Location": f"{server.url}/storage"})

        server.answer = answer
        monkeypatch.setenv("KAGGLE_API_ENDPOINT", server.url)
        fetch(tmp_path / "cifake")
        assert counts(read_samples(f"cifake:{tmp_path / 'cifake'}", "train")) == (1, 1)
        assert {path.name for path in tmp_path.iterdir()} == {"kaggle", "cifake"}

        (asked, with_token), (_, redirected) = server.asked
        assert asked == "/api/v1/datasets/download/birdy654/cifake-real-and-ai-generated-synthetic-images"
        assert with_token["authorization"] == f"Basic {base64.b64encode(b'ada:0123').decode()}"
        assert "authorization" not in redirected

    @pytest.mark.parametrize(
        ("status", "body", "most", "code"),
        [
            (401, b"", 10**6, "no_credentials"),
            (200, archive_of_cifake(), 100, "body_too_large"),
            (200, b"<html>log in</html>", 10**6, "download_failed"),
        ],
    )
    def test_what_goes_wrong_leaves_nothing_behind(
        self, server: Any, make_answer: Any, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        status: int, body: bytes, most: int, code: str,
    ) -> None:  # fmt: skip
        server.answer = lambda path, headers: make_answer(status, body)
        monkeypatch.setenv("KAGGLE_API_ENDPOINT", server.url)
        with pytest.raises(SourceError) as caught:
            fetch(tmp_path / "cifake", most)
        assert caught.value.code == code
        assert {path.name for path in tmp_path.iterdir()} == {"kaggle"}


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"username": "ada"}'])
def test_without_a_token_it_says_how_to_get_one(token: Path, tmp_path: Path, content: str | None) -> None:
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
    with pytest.raises(SourceError) as caught:
        fetch(tmp_path / "cifake")
    assert caught.value.code == "no_credentials"
    assert "Create New Token" in str(caught.value.hint)
    assert "0123" not in str(caught.value)


def test_offline_not_even_the_token_is_read(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.unlink()
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    with pytest.raises(SourceError) as caught:
        fetch(tmp_path / "cifake")
    assert caught.value.code == "offline"
