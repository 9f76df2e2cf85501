#!/usr/bin/env bash
# Makes .venv-lerobot: lerobot 0.4.4 and torchvision without what they would drag in, beside PyTorch's CPU build.
# They never share an environment with Maquette: a torchvision that cannot load breaks transformers and diffusers.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${MAQUETTE_LEROBOT:-.venv-lerobot}"
[ -f "$venv/.ready" ] && exit 0
echo "[setup] making $venv (once; a minute or two)"
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check uv
[ -n "${PIP_FIND_LINKS:-}" ] || export UV_TORCH_BACKEND="${UV_TORCH_BACKEND:-cpu}"
export UV_FIND_LINKS="${PIP_FIND_LINKS:-}"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" \
  torch==2.13.0 transformers==4.57.1 datasets==4.8.5 av==15.1.0 huggingface-hub==0.35.3 draccus==0.10.0 \
  gymnasium jsonlines deepdiff pyserial einops opencv-python-headless diffusers==0.35.2 accelerate termcolor \
  "imageio[ffmpeg]" packaging
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps lerobot==0.4.4 torchvision==0.25.0
touch "$venv/.ready"
