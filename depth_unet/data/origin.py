"""Where pictures come from, and under which terms weights trained on them may be passed on."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from depth_unet.reading import LARGEST_TEXT, parse_json, read_bytes

ORIGIN_FILE = "origin.json"
TERMS_OF_WEIGHTS = ("research-only", "unknown", "mit")  # the strictest first


class Origin(NamedTuple):
    """The source of a data set; the contents of origin.json.

    Args:
        title: name of the data set, with its authors.
        url: its page, or "".
        terms: what its makers allow, in words.
        weights: terms of weights trained on it: "mit", "research-only" or "unknown".
    """

    title: str
    url: str = ""
    terms: str = "none stated"
    weights: str = "unknown"

    @property
    def link(self) -> str:
        """The title as Markdown, linked where there is an address."""
        if not self.url:
            return self.title
        return f"[{self.title}]({self.url if '://' in self.url else f'https://{self.url}'})"

    @classmethod
    def from_dict(cls, values: Any) -> "Origin":
        """Build from the contents of an origin.json.

        Raises:
            ValueError: a key is missing or unknown, or a value is not one of those allowed.
        """
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise ValueError(f"an origin is an object of the texts {', '.join(cls._fields)}, not {repr(values)[:200]}")
        if unknown := sorted(set(values) - set(cls._fields)):
            raise ValueError(f"an origin has no {', '.join(unknown)}, only {', '.join(cls._fields)}")
        if not values.get("title", "").strip():
            raise ValueError("an origin needs a title")
        if values.get("weights", "unknown") not in TERMS_OF_WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(TERMS_OF_WEIGHTS)}, not {values['weights']!r}")
        return cls(**values)


OWN_RECORDINGS = Origin("recordings of its publisher", "", "none stated", "unknown")
EARLIER_MODEL = Origin("the data of the model that this training continued from", "", "not recorded", "unknown")


def read_origin(path: Path) -> Origin:
    """Read an origin.json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an origin.
    """
    return parse_origin(read_bytes(path, LARGEST_TEXT), path.name)


def parse_origin(content: bytes, name: str) -> Origin:
    """Parse the bytes of an origin.json.

    Raises:
        ValueError: not an origin.
    """
    try:
        return Origin.from_dict(parse_json(content))
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {str(error)[:400]}") from error


def distinct(origins: Iterable[Origin]) -> tuple[Origin, ...]:
    """The origins without repetitions, in their order."""
    return tuple(dict.fromkeys(origins))


def strictest(origins: Iterable[Origin]) -> str:
    """Terms of weights trained on all of these: the strictest that one of them asks for; "unknown" of none."""
    asked = {origin.weights for origin in origins} or {"unknown"}
    return next(terms for terms in TERMS_OF_WEIGHTS if terms in asked)
