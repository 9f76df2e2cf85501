"""What options of the command line are made of."""

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
