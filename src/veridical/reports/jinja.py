"""Jinja as every template of this package is read by it."""

from __future__ import annotations

import jinja2


def environment(package: str, *, autoescape: bool = True) -> jinja2.Environment:
    """An environment over the folder `templates` of a package; an unknown name in a template is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
