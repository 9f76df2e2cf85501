"""Before anything imports NumPy: as `maquette.cli.commands.main` does, and why."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
