"""The model that docs/adding-a-system.md writes is a trunk like any other."""

import runpy
from pathlib import Path

import pytest
import torch

from maquette.robotics.policies.contract import Observation, Policy, chunk_loss, count_actions, observation_in
from maquette.robotics.policies.heads import HEADS, head_of

torch.set_num_threads(1)

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-system.md"
ROWS, CAMERAS, WORDS, STATE, NUMBERS, CHUNK, VOCABULARY = 3, 2, 6, 5, 3, 4, 40


@pytest.fixture(scope="module")
def octo(tmp_path_factory):
    """What the page's listing defines."""
    file = tmp_path_factory.mktemp("octo") / "octo.py"
    file.write_text(PAGE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    return runpy.run_path(str(file))


def a_policy(octo, head):
    shape = {"state": STATE, "numbers": NUMBERS, "cameras": CAMERAS, "vocabulary": VOCABULARY, "chunk": CHUNK}
    config = octo["OctoConfig"](**shape, width=32, layers=2, hidden=32)
    torch.manual_seed(0)
    trunk = octo["Octo"](config).initialise(torch.Generator().manual_seed(0))
    return Policy(trunk, head_of(head, trunk.width, NUMBERS), chunk=CHUNK, numbers=NUMBERS)


def a_batch(policy, seed=1):
    g = torch.Generator().manual_seed(seed)
    written = torch.ones(ROWS, WORDS, dtype=torch.bool)
    written[0, 3:] = False
    batch = {
        "images": torch.randint(0, 256, (ROWS, CAMERAS, 3, 16, 16), generator=g, dtype=torch.uint8),
        "state": torch.randn(ROWS, STATE, generator=g),
        "prompt": torch.randint(0, VOCABULARY, (ROWS, WORDS), generator=g),
        "written": written,
        "actions": torch.rand(ROWS, CHUNK, NUMBERS, generator=g) * 1.8 - 0.9,
        "counted": torch.ones(ROWS, CHUNK, dtype=torch.bool),
    }
    return batch | policy.draw(ROWS, g)


@pytest.mark.parametrize("head", HEADS)
def test_it_goes_with_every_head(octo, head):
    policy = a_policy(octo, head)
    batch = a_batch(policy)
    chunk_loss(policy, batch).backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    seen, noise = observation_in(batch), policy.noise(ROWS, torch.Generator().manual_seed(2))
    chunk = policy.act(seen, noise)
    for row in range(ROWS):
        one = Observation(*(part[row : row + 1] for part in seen))
        torch.testing.assert_close(policy.act(one, noise[row : row + 1]), chunk[row : row + 1], atol=2e-4, rtol=1e-3)


def test_all_that_is_seen_counts_and_padding_does_not(octo):
    trunk, batch = (policy := a_policy(octo, "l1")).trunk, a_batch(policy)
    seen = observation_in(batch)
    found = trunk.context(seen)
    for name in ("images", "state", "prompt"):
        changed = getattr(seen, name).clone()
        changed[0, 1] = 255 - changed[0, 1] if name == "images" else (changed[0, 1] + 1) % VOCABULARY
        moved = trunk.context(seen._replace(**{name: changed}))
        assert float((moved[0] - found[0]).detach().abs().max()) > 1e-5, name
        torch.testing.assert_close(moved[1:], found[1:], atol=1e-5, rtol=1e-4)
    padding = seen.prompt.clone()
    padding[0, 3:] = (padding[0, 3:] + 1) % VOCABULARY
    torch.testing.assert_close(trunk.context(seen._replace(prompt=padding)), found, atol=1e-6, rtol=1e-5)


def test_nobody_sees_the_readout_and_the_task_sees_only_itself(octo):
    policy = a_policy(octo, "l1")
    trunk, seen = policy.trunk, observation_in(a_batch(policy))

    def left_by_the_blocks(**changes):
        kept = []
        handle = trunk.blocks[-1].mlp.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].detach()))
        trunk.context(seen._replace(**changes))
        handle.remove()
        return kept[0]

    before = left_by_the_blocks()
    words, others = slice(0, WORDS), slice(WORDS, -1)
    with torch.no_grad():
        trunk.kinds[2] += 1.0
    after = left_by_the_blocks()
    assert torch.equal(after[:, :-1], before[:, :-1])
    assert not torch.allclose(after[:, -1], before[:, -1])
    moved = left_by_the_blocks(state=seen.state + 1.0)
    torch.testing.assert_close(moved[:, words], after[:, words], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(moved[:, others], after[:, others])


def test_it_learns_a_few_moments_by_heart(octo):
    policy = a_policy(octo, "l1")
    batch = a_batch(policy)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    for step in range(100):
        drawn = policy.draw(ROWS, torch.Generator().manual_seed(100 + step))
        loss = chunk_loss(policy, batch | drawn) / count_actions(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    chunk = policy.act(observation_in(batch), policy.noise(ROWS, torch.Generator().manual_seed(3)))
    far, strange = ((chunk - actions).abs().mean() for actions in (batch["actions"], batch["actions"].roll(1, 0)))
    assert far < 0.5 * strange, (far, strange)
