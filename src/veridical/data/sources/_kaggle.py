"""Data sets of Kaggle, fetched as the user: needs the API token that Kaggle gives as `kaggle.json`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

from veridical.data.download import check_online, fetch, new_folder, unpack_zip
from veridical.errors import SourceError

_TOKEN_HINT = (
    "On kaggle.com: Settings, API, Create New Token; save the kaggle.json that it gives as "
    "~/.kaggle/kaggle.json (or in the folder that KAGGLE_CONFIG_DIR names)."
)


def download(dataset: str, folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Download and unpack `owner/name` to `folder`.

    Raises `SourceError`: `offline`, `no_credentials` without a token or with one that is refused, and what
    `fetch` raises.
    """
    check_online(f"kaggle.com/datasets/{dataset}")
    # The variable is that of Kaggle's own client.
    endpoint = os.environ.get("KAGGLE_API_ENDPOINT", "https://www.kaggle.com").rstrip("/")
    headers = {"Authorization": f"Basic {_token()}"}
    with new_folder(folder) as scratch:
        archive = scratch.with_name("archive.zip")
        url = f"{endpoint}/api/v1/datasets/download/{dataset}"
        try:
            fetch(url, archive, most_bytes=most_bytes, say=say, headers=headers)
        except SourceError as error:
            if error.code == "no_credentials":
                raise SourceError(
                    f"Kaggle refuses the token: {error}", code=error.code, hint=_TOKEN_HINT
                ) from error
            raise
        say("unpacking")
        unpack_zip(archive, scratch)


def _token() -> str:
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    path = folder / "kaggle.json"
    try:
        stated = json.loads(path.read_bytes())
        pair = f"{stated['username']}:{stated['key']}"
    except OSError as error:
        raise SourceError(
            f"Kaggle asks who downloads, and there is no {path}.", code="no_credentials", hint=_TOKEN_HINT
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{path} does not hold a username and a key.", code="no_credentials", hint=_TOKEN_HINT
        ) from error
    return base64.b64encode(pair.encode()).decode()
