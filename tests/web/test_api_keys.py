"""Keys of outside clients: made once, kept as hashes, revoked by a line."""

from pathlib import Path

import pytest

from veridical.errors import UsageError, WebError
from veridical.web.api_keys import ApiKeys, new_key


def test_a_key_is_its_clients_until_its_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first, second = new_key(path, "newsroom"), new_key(path, "lab")
    keys = ApiKeys(path)
    assert [keys.client_of(key) for key in (first, second, first)] == ["newsroom", "lab", "newsroom"]
    assert keys.client_of(first[:-1] + ("0" if first[-1] != "0" else "1")) is None
    assert keys.client_of(first[:-1]) is None
    assert keys.client_of("") is None
    path.write_text(path.read_text().splitlines()[1] + "\n")
    assert [keys.client_of(key) for key in (first, second)] == [None, "lab"]


def test_the_file_tells_nobody_a_key(tmp_path: Path) -> None:
    key = new_key(tmp_path / "keys", "lab")
    assert key.rpartition("_")[2] not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


def test_a_file_that_is_not_there_or_not_of_keys(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    for name in ("nothing", "text"):
        with pytest.raises(WebError) as caught:
            ApiKeys(tmp_path / name)
        assert caught.value.code == "bad_keys"


def test_a_clients_name_is_one_word(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        new_key(tmp_path / "keys", "two words")
