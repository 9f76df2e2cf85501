"""What options of the command line are made of."""

import re
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

RECORDS = (Path("runs"), Path("results"))
"""Where records are looked for: this machine's own, then the committed ones."""

Count = Annotated[int | None, arg(metavar="N")]
Amount = Annotated[str | None, arg(metavar="AMOUNT")]
File = Annotated[Path | None, arg(metavar="PATH")]
Text = Annotated[str, arg(metavar="NAME")]
MaybeText = Annotated[str | None, arg(metavar="NAME")]
Share = Annotated[float | None, arg(metavar="SHARE")]


def of_the_type_meant(complaint: str) -> str:
    """Of tyro's complaints about an option that may be left out, the one about what it takes where it is given."""
    complaint = re.sub(r"no type matching .*Got errors:.*- <class '\w+'>: ", "", complaint)
    complaint = re.sub(r"invalid literal for int\(\) with base 10: ('.*?')", r"\1 is not a whole number", complaint)
    return re.sub(r"could not convert string to float: ('.*?')", r"\1 is not a number", complaint)
