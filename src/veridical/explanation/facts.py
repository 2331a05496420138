"""Facts in words: the sentence for each code that a detector gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veridical.media.fingerprint import DHASH_BITS, PDQ_BITS
from veridical.results import Fact

_LABELS = {"fake": "AI-generated", "real": "real"}
_HASHES = {"dhash": ("dHash", DHASH_BITS), "pdq": ("PDQ hash", PDQ_BITS)}

Values = Mapping[str, Any]  # Any: each code has its own names and numbers


def fact_in_words(fact: Fact) -> str:
    """The sentence for a fact.

    >>> fact_in_words(Fact("members_gave", {"probabilities": {"npr": 0.7, "clip": 0.25}}))
    "On their own, its members give for AI: 'npr' 70 %, 'clip' 25 %."
    """
    return SENTENCES[fact.code](fact.values)


def _members(values: Values) -> str:
    gave = ", ".join(f"'{name}' {100 * value:.0f} %" for name, value in values["probabilities"].items())
    return f"On their own, its members give for AI: {gave}."


def _too_large(values: Values) -> str:
    names = ", ".join(f"'{name}'" for name in values["names"])
    return f"The picture is too small for {names}, which the combination allows for."


def _expert(values: Values) -> str:
    reason = REASONS[values["reason"].code](values["reason"].values)
    return f"{reason}: the expert '{values['name']}' gives {100 * values['probability']:.0f} % for AI."


def _face(values: Values) -> str:
    return f"It shows a face of {values['width']:.0f} x {values['height']:.0f} pixels, so only that was judged"


def _known(values: Values) -> str:
    distances = ", ".join(
        f"{values[key]} of {bits} bits of the {name} differ"
        for key, (name, bits) in _HASHES.items()
        if key in values
    )
    return f"It resembles a picture known as {_entry(values)} ({distances})."


def _alike(values: Values) -> str:
    return (
        f"It shows much the same as a picture known as {_entry(values)} (cosine {values['cosine']:.3f}), "
        "from which nothing follows."
    )


def _chance(values: Values) -> str:
    rate = f"at most {100 * values['rate']:.2g} %"
    sentence = f"Of pictures outside an index of this size, {rate} resemble one in it by chance."
    if values["label"] == "fake":
        return sentence
    return f"{sentence} A copy of a real picture that was altered in small parts resembles it too."


def _entry(values: Values) -> str:
    return f"{_LABELS[values['label']]}: {values['name']} of '{values['source']}'"


# Why an expert of a mixture was asked; the beginnings of sentences.
REASONS: Mapping[str, Callable[[Values], str]] = {
    "no_content_gate": lambda values: "No gate fired",
    "shows_face": _face,
    "colours_of": lambda values: f"Its colours are those of '{values['centroid']}'",
    "content_gate_gave": lambda values: (
        f"The gate '{values['name']}' gives it {100 * values['probability']:.0f} %"
    ),
}

SENTENCES: Mapping[str, Callable[[Values], str]] = {
    "members_gave": _members,
    "members_too_large": _too_large,
    "expert_gave": _expert,
    "greatest_counts": lambda values: "The greatest of these counts.",
    "nothing_known": lambda values: (
        f"It resembles none of the {values['pictures']:,} known pictures; or too little is in it to be told "
        "from others."
    ),
    "known_picture": _known,
    "further_known_pictures": lambda values: f"It resembles {values['pictures']:,} further known pictures.",
    "known_as_both": lambda values: "Real and AI-generated pictures look like it, so nothing follows.",
    "chance_match": _chance,
    "alike_picture": _alike,
}
