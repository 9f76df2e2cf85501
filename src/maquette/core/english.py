"""How English strings things together."""

from collections.abc import Sequence


def listed(parts: Sequence[str]) -> str:
    """One, two and three; nothing of none."""
    *most, last = parts or [""]
    return f"{', '.join(most)} and {last}" if most else last
