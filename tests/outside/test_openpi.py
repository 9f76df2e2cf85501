"""The policy server and openpi's own client, which lives in an environment of its own (scripts/openpi.sh)."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maquette.core.seeds import child_seed
from maquette.robotics.collecting import CAMERA, Collection, collect
from maquette.robotics.deployment import load
from maquette.robotics.training import RECIPES, carry_out

PYTHON = Path(os.environ.get("MAQUETTE_OPENPI", ".venv-openpi")).absolute() / "bin" / "python"
MAQUETTE = Path(sys.executable).with_name("maquette")
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="scripts/openpi.sh has not made .venv-openpi"),
    pytest.mark.against("openpi-client", python=PYTHON),
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """π0 after a few steps of training."""
    home = tmp_path_factory.mktemp("openpi")
    collect(Collection(episodes=2, size=32, tasks=("reach",)), home / "data")
    recipe = RECIPES["pi0"]
    recipe = replace(
        recipe, size="tiny", chunk=8, pixels=32, rows=4, train=replace(recipe.train, steps=2, device="cpu")
    )
    carry_out(recipe, home / "data", home / "policy")
    return home / "policy"


def test_openpis_client_is_told_what_the_policy_says(policy):
    server = subprocess.Popen(
        [MAQUETTE, "serve", policy, "--port", "0", "--device", "cpu"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"MAQUETTE_TOKEN": "s3cret"},
    )
    try:
        port = re.fullmatch(r"Serving policy at ws://127\.0\.0\.1:(\d+)\n", server.stdout.readline())[1]
        command = [str(PYTHON), str(Path(__file__).with_name("openpi_side.py")), port, "s3cret"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()
        server.communicate()
    told, deployed = json.loads(done.stdout), load(policy)
    card = deployed.card
    assert told["metadata"]["cameras"] == {CAMERA: "uint8 (height, width, 3)"}
    assert told["metadata"]["actions"]["names"] == list(card.action_names)
    assert told["kinds"] == ["float32", "float32"]
    for turn, (asked, actions) in enumerate(zip(told["asked"], told["actions"], strict=True)):
        images = {CAMERA: np.array(asked["observation/images/top"], np.uint8)[None]}
        state = np.array(asked["observation/state"], np.float32)[None]
        ours = deployed.act(images, state, [asked["prompt"]], seed=child_seed(0, turn))[0]
        np.testing.assert_allclose(actions, ours, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(told["one_by_one"], np.array(told["actions"][0])[:3], rtol=1e-4, atol=1e-5)
    assert set(told["timing"]) == {"infer_ms", "prev_total_ms"}
    assert "prompt must be text" in told["error"]
