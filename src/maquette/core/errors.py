"""The one exception a user is meant to see."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: one sentence naming the field, the value and the mend. The CLI prints it and exits with 2."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing clause that names the nearest known name, or all of them when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}."
