"""The bar that commands show while something runs."""

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress


def counting_bar(console: Console) -> Progress:
    """A bar with the time that is left, and how many of how many; a quiet console shows none."""
    return Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, disable=console.quiet)
