"""The Llama compiles as one graph with its loss, the DiT is traced as one, and both compute what they did before.

In a process of its own, with jaxtyping's checks off: the hook that checks shapes in tests is not for a compiler.
"""

import json
import os
import subprocess
import sys

import pytest

LLAMA = """
import json, torch
from maquette.core.seeds import torch_generator
from maquette.language.llama import Llama, LlamaConfig, next_token_loss
from maquette.nn.rope import Llama3Scaling

torch.set_num_threads(1)
config = LlamaConfig(vocabulary=61, width=32, layers=1, heads=4, kv_heads=2, hidden=48,
                     rope_scaling=Llama3Scaling(original_context=16), tied=True)
model = Llama(config).initialise(torch_generator(0, "init"))
text = torch.randint(0, 61, (2, 33), generator=torch_generator(0, "text"))
batch = {"tokens": text[:, :-1], "targets": text[:, 1:]}

def outcome(objective):
    model.zero_grad(set_to_none=True)
    loss = objective(model, batch)
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters()]

eager, gradients = outcome(next_token_loss)
compiled, of_compiled = outcome(torch.compile(next_token_loss, fullgraph=True))
worst = max(((a - b).norm() / b.norm()).item() for a, b in zip(of_compiled, gradients))
print(json.dumps({"eager": eager, "compiled": compiled, "apart": worst}))
"""

DIT = """
import json, torch
from maquette.core.seeds import torch_generator
from maquette.video.conditions import Text
from maquette.video.dit import DiT, DiTConfig

torch.set_num_threads(1)
config = DiTConfig(channels=3, width=32, layers=1, heads=4, text_width=8, reading="joint", qk_norm=True)
model = DiT(config)
generator = torch_generator(0, "all")
with torch.no_grad():
    for p in model.parameters():
        p.normal_(0.0, 0.2, generator=generator)
x, features = torch.randn(2, 3, 2, 4, 4, generator=generator), torch.randn(2, 3, 8, generator=generator)
clip = torch.tensor([[0, 0, 0], [0, 0, -1]])

def outcome(forward):
    model.zero_grad(set_to_none=True)
    loss = forward(x, torch.tensor([[0.0, 300.0], [500.0, 500.0]]), text=Text(features, clip)).square().sum()
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters()]

eager, gradients = outcome(model)
compiled, of_compiled = outcome(torch.compile(model, fullgraph=True, backend="aot_eager"))
worst = max(((a - b).norm() / (b.norm() + 1e-3)).item() for a, b in zip(of_compiled, gradients))
print(json.dumps({"eager": eager, "compiled": compiled, "apart": worst}))
"""


LOOP = """
import json, torch
from maquette.core.seeds import torch_generator
from maquette.language.llama import Llama, LlamaConfig, count_targets, next_token_loss
from maquette.train.loop import TrainConfig, train
from maquette.train.metrics import Losses

torch.set_num_threads(1)
config = LlamaConfig(vocabulary=61, width=32, layers=1, heads=4, kv_heads=2, hidden=48, tied=True)

def batches(step):
    text = torch.randint(0, 61, (2, 33), generator=torch_generator(step, "text"))
    return {"tokens": text[:, :-1], "targets": text[:, 1:]}

def outcome(compile):
    model, losses = Llama(config).initialise(torch_generator(0, "init")), Losses()
    run = TrainConfig(steps=3, compile=compile, log_every=1, precision="fp32", device="cpu")
    train(model, next_token_loss, count_targets, batches, run, sinks=[losses])
    return losses.values, [p.detach() for p in model.parameters()]

(eager, weights), (compiled, of_compiled) = outcome(False), outcome(True)
worst = max(((a - b).norm() / b.norm()).item() for a, b in zip(of_compiled, weights))
print(json.dumps({"eager": eager, "compiled": compiled, "apart": worst}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [LLAMA, DIT, LOOP], ids=["llama", "dit", "training"])
def test_the_compiled_gives_the_eager_losses_and_gradients(program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"JAXTYPING_DISABLE": "1", "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["compiled"] == pytest.approx(found["eager"], rel=1e-5)
    assert found["apart"] < 1e-4
