"""Request bodies: limited before a byte is read, and the file in a form."""

from __future__ import annotations

import asyncio

from fastapi import Request
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header
from starlette.requests import ClientDisconnect

from veridical.web.refusals import Refusal

# What a form adds to the file in it.
_FORM_BYTES = 64 * 1024


async def read_body(request: Request, *, most_bytes: int, seconds: float) -> bytes:
    """The body; raises `Refusal` for one of unknown or too great a length before a byte of it is read."""
    length = _content_length(request)
    if length > most_bytes:
        raise Refusal("body_too_large", f"The body has {length} bytes; at most {most_bytes} are read.")
    parts = []
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                parts.append(part)  # Not more than its Content-Length: the server sees to that.
    except TimeoutError as error:
        raise Refusal("body_too_slow", f"The body did not come within {seconds:g} s.") from error
    except ClientDisconnect as error:
        raise Refusal("incomplete_body", "The connection ended before the body.") from error
    return b"".join(parts)


async def read_file(request: Request, *, most_bytes: int, seconds: float) -> bytes:
    """The file in a request: the whole body, or what the form in it calls `file`; raises `Refusal`."""
    content_type = request.headers.get("content-type", "")
    is_form = content_type.lower().startswith("multipart/form-data")
    most = most_bytes + (_FORM_BYTES if is_form else 0)
    body = await read_body(request, most_bytes=most, seconds=seconds)
    file = file_of_form(body, content_type) if is_form else body
    if not file:
        raise Refusal("empty_file", "There is no file in the request.")
    if len(file) > most_bytes:
        raise Refusal("body_too_large", f"At most {most_bytes} bytes are judged.")
    return file


def file_of_form(body: bytes, content_type: str) -> bytes:
    """The first part of a form (RFC 7578) that is named `file`; raises `Refusal` (`malformed_request`)."""
    found: list[bytes] = []

    def keep_field(field: Field) -> None:
        if field.field_name == b"file":
            found.append(field.value or b"")

    def keep_file(file: File) -> None:
        if file.field_name == b"file":
            file.file_object.seek(0)
            found.append(file.file_object.read())

    _, options = parse_options_header(content_type.encode("latin-1", "replace"))
    try:
        parser = FormParser(
            "multipart/form-data",
            keep_field,
            keep_file,
            boundary=options.get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # Nothing of it is written to a disk.
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refusal("malformed_request", f"The form cannot be read: {error}.") from error
    if not found:
        raise Refusal("malformed_request", "The form has no part named 'file'.")
    return found[0]


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length")
    if text is None:
        raise Refusal("length_required", "The request has no Content-Length.")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refusal("malformed_request", "The Content-Length is no number.")
    return int(text)
