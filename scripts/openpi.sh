#!/usr/bin/env bash
# Makes .venv-openpi: openpi's own client, which needs an older NumPy than Maquette. No PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${MAQUETTE_OPENPI:-.venv-openpi}"
[ -f "$venv/.ready" ] && exit 0
echo "[setup] making $venv (once; seconds)"
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check openpi-client==0.1.2 typing_extensions # which it imports and does not ask for
touch "$venv/.ready"
