"""A file comes out of a form as it went in, whatever else is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from veridical.web.bodies import file_of_form
from veridical.web.refusals import Refusal

# Nothing is timed: the machine may have other things to do.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def form(fields: Mapping[str, bytes]) -> tuple[bytes, str]:
    parts = [
        b'--B\r\nContent-Disposition: form-data; name="%s"; filename="x.png"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in fields.items()
    ]
    return b"".join(parts) + b"--B--\r\n", 'multipart/form-data; boundary="B"'


@given(st.binary().filter(lambda content: b"\r\n--B" not in b"\r\n" + content))
def test_a_file_comes_out_of_a_form_as_it_went_in(content: bytes) -> None:
    assert file_of_form(*form({"other": b"x", "file": content})) == content


@given(st.binary(), st.text())
def test_any_form_is_a_file_or_a_refusal(body: bytes, content_type: str) -> None:
    with contextlib.suppress(Refusal):
        file_of_form(body, f"multipart/form-data; boundary={content_type}")


def test_a_part_without_a_filename_is_a_file_too_and_the_first_counts() -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    body = head + b"one\r\n" + head + b"two\r\n--B--\r\n"
    assert file_of_form(body, "multipart/form-data; boundary=B") == b"one"


def test_a_large_file_in_a_form_is_not_written_to_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a file was made")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    content = bytes(3_000_000)
    assert file_of_form(*form({"file": content})) == content
