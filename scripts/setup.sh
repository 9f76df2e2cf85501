#!/usr/bin/env bash
# Makes .venv and installs Maquette into it. `setup.sh dev` adds what the tests need.
# Idempotent: a stamp of pyproject.toml says whether anything changed since the last time.
set -euo pipefail
cd "$(dirname "$0")/.."
extra="${1:-}"
venv="${VENV:-.venv}"
python="${PYTHON:-python3}"

say() { printf '\033[2m[setup]\033[0m %s\n' "$*"; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "Maquette needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1 || echo not found). Set PYTHON=/path/to/python3.11." >&2
  exit 2
}
stamp="$venv/.maquette${extra:+-${extra//,/-}}"
want="$(cat pyproject.toml scripts/setup.sh | cksum)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && [ -x "$venv/bin/maquette" ]; then
  exit 0
fi

if [ ! -x "$venv/bin/python" ]; then
  say "making $venv (once; about a minute, mostly PyTorch)"
  "$python" -m venv "$venv"
fi
[ -x "$venv/bin/uv" ] || "$venv/bin/pip" install --quiet --disable-pip-version-check uv
# Where pip is offered wheels in a folder, uv is told of the same folder; everywhere else uv chooses
# PyTorch's CPU or CUDA build by looking for a GPU (PyPI's own Linux build brings gigabytes of CUDA).
[ -n "${PIP_FIND_LINKS:-}" ] || export UV_TORCH_BACKEND="${UV_TORCH_BACKEND:-auto}"
target="."
[ -z "$extra" ] || target=".[$extra]"
say "installing $target"
UV_FIND_LINKS="${PIP_FIND_LINKS:-}" "$venv/bin/uv" pip install --quiet --compile-bytecode \
  --python "$venv/bin/python" --editable "$target"
printf '%s' "$want" > "$stamp"
say "ready: $venv/bin/maquette"
