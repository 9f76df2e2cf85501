"""Random-weight parity with transformers' π0, both ways: actions to 1e-5, gradients to 1e-4; PaliGemma's answers."""

import copy

import pytest
import torch
import transformers

from maquette.core.errors import UserError
from maquette.language.vision import VisionConfig
from maquette.language.vlm import PALIGEMMA, VisionLanguage, VisionLanguageConfig
from maquette.language.vlm_layout import vlm_parts
from maquette.nn.layouts import from_layout
from maquette.robotics.policies.contract import Observation, Policy, chunk_loss
from maquette.robotics.policies.heads import FlowHead
from maquette.robotics.policies.pi0 import PI0, Pi0, Pi0Config
from maquette.robotics.policies.pi0_layout import pi0_from_layout, pi0_to_layout

pytestmark = pytest.mark.against("transformers")
torch.set_num_threads(1)

VLM = VisionLanguageConfig(
    vision=VisionConfig(size=16, patch=4, width=32, layers=2, heads=4, hidden=48),
    vocabulary=64,
    width=64,
    layers=3,
    heads=4,
    kv_heads=1,
    head_dim=16,
    hidden=96,
)
CONFIG = Pi0Config(vlm=VLM, width=48, hidden=80, state=5, numbers=3, chunk=7)
IMAGE = VLM.vocabulary  # stands for a picture's token in their prompts; π0's own is just beyond the table too
UNREAD = "model.dit.embed_tokens.weight"  # the expert's table of words
ROWS, CAMERAS, WORDS = 3, 2, 6


def theirs_of(config):
    vlm, vision = config.vlm, config.vlm.vision
    heads = {"num_attention_heads": vlm.heads, "num_key_value_heads": vlm.kv_heads, "head_dim": vlm.head_dim}
    text = {
        "model_type": "gemma",
        "hidden_size": vlm.width,
        "intermediate_size": vlm.hidden,
        "vocab_size": vlm.vocabulary,
    }
    tower = {"model_type": "siglip_vision_model", "hidden_size": vision.width, "intermediate_size": vision.hidden}
    tower |= {"num_hidden_layers": vision.layers, "num_attention_heads": vision.heads, "patch_size": vision.patch}
    tower |= {"image_size": vision.size, "vision_use_head": False, "projection_dim": vlm.width}
    expert = {"model_type": "gemma", "hidden_size": config.width, "intermediate_size": config.hidden}
    return transformers.PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": text | heads | {"num_hidden_layers": vlm.layers},
            "vision_config": tower,
            "projection_dim": vlm.width,
            "image_token_id": IMAGE,
        },
        dit_config=expert | heads | {"num_hidden_layers": vlm.layers},
        chunk_size=config.chunk,
        max_state_dim=config.state,
        max_action_dim=config.numbers,
    )


def randomise(model, seed=0):
    """Every parameter random; norms of both kinds (around 1 and around 0) become random too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0.0, 0.3 if p.ndim == 1 else p[0].numel() ** -0.5, generator=generator)
    return model.eval()


def our_pi0():
    return Policy(Pi0(CONFIG), FlowHead(CONFIG.width, CONFIG.numbers), chunk=CONFIG.chunk, numbers=CONFIG.numbers)


@pytest.fixture
def ours():
    return randomise(our_pi0())


def theirs_with(weights):
    theirs = randomise(transformers.PI0ForConditionalGeneration(theirs_of(CONFIG)), seed=1)
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == ([UNREAD], [])
    return theirs


def a_moment(padded, *, everywhere=False):
    g = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (ROWS, CAMERAS, 3, 16, 16), generator=g, dtype=torch.uint8)
    prompt = torch.randint(0, VLM.vocabulary, (ROWS, WORDS), generator=g)
    written = torch.ones(ROWS, WORDS, dtype=torch.bool)
    if padded:
        written[0, 4:] = False
        written[2, 2:] = False
    if everywhere:
        written[:, -2:] = False
    return Observation(images, torch.randn(ROWS, CONFIG.state, generator=g), prompt, written)


def as_theirs(seen):
    """A moment in their words: pictures' tokens stand in the prompt."""
    pictures = torch.full((ROWS, CAMERAS * VLM.vision.tokens), IMAGE)
    there = torch.cat((torch.ones_like(pictures, dtype=torch.bool), seen.written), dim=1)
    return {
        "state": seen.state,
        "input_ids": torch.cat((pictures, seen.prompt), dim=1),
        "attention_mask": there.long(),
        "pixel_values": seen.images.float() / 127.5 - 1,
        "pixel_attention_mask": torch.ones(ROWS, CAMERAS, dtype=torch.bool),
    }


def a_batch(seen):
    g = torch.Generator().manual_seed(6)
    shape = ROWS, CONFIG.chunk, CONFIG.numbers
    return seen._asdict() | {
        "actions": torch.randn(shape, generator=g),
        "noise": torch.randn(shape, generator=g),
        "time": torch.rand(ROWS, generator=g),
        "counted": torch.ones(ROWS, CONFIG.chunk, dtype=torch.bool),
    }


def relative(a, b):
    return float(((a - b).abs().max() / b.abs().max()).detach())


def act_differently_by(ours, theirs, seen):
    noise = torch.randn(ROWS, CONFIG.chunk, CONFIG.numbers, generator=torch.Generator().manual_seed(7))
    given = as_theirs(seen)
    return relative(ours.act(seen, noise), theirs.sample_actions(noise=noise, num_steps=ours.head.steps, **given))


def assert_the_same(ours, theirs, seen):
    """Ten Euler steps, the loss, and the gradient of every parameter."""
    assert act_differently_by(ours, theirs, seen) <= 1e-5
    batch = a_batch(seen)
    loss = chunk_loss(ours, batch)
    loss.backward()
    given = as_theirs(seen) | {"actions": batch["actions"], "noise": batch["noise"], "timestep": batch["time"]}
    their_loss = theirs(**given).loss * ROWS * CONFIG.chunk
    their_loss.backward()
    assert relative(loss, their_loss) <= 1e-5
    gradients = copy.deepcopy(ours)
    with torch.no_grad():
        for parameter, source in zip(gradients.parameters(), ours.parameters(), strict=True):
            parameter.copy_(torch.zeros_like(source) if source.grad is None else source.grad)
    of_ours, unread = pi0_to_layout(gradients), 0
    norms = {name for name, parameter in theirs.named_parameters() if name.endswith("norm.weight")}
    for name, parameter in theirs.named_parameters():
        if name == UNREAD:
            continue
        found = of_ours[name] + (1 if name in norms and "vision" not in name else 0)  # the layout takes one off
        if parameter.grad is None or not parameter.grad.any():
            assert not found.any(), name
            unread += 1
            continue
        scale = parameter.grad.norm()
        if name.endswith("k_proj.bias"):  # moves all scores of a query alike: its gradient is nothing but rounding
            scale = dict(theirs.named_parameters())[name.replace("k_proj", "q_proj")].grad.norm()
        error = float((found - parameter.grad).norm() / scale)
        assert error <= 1e-4, f"{name}: {error}"
    assert unread == 7, "what only a word would read: the last norm, and the last layer's queries, output, norm and MLP"


@pytest.mark.parametrize("padded", [False, True])
def test_transformers_acts_as_we_do(ours, padded):
    assert_the_same(ours, theirs_with(pi0_to_layout(ours)), a_moment(padded))


@pytest.mark.parametrize("padded", [False, True])
def test_we_act_as_transformers_does(padded):
    theirs = randomise(transformers.PI0ForConditionalGeneration(theirs_of(CONFIG)), seed=2)
    assert_the_same(pi0_from_layout(our_pi0().eval(), theirs.state_dict()), theirs, a_moment(padded))


def test_what_no_row_has_written_is_left_out(ours):
    seen, counted = a_moment(padded=True, everywhere=True), []
    hook = ours.trunk.vlm.embedding.register_forward_hook(lambda module, args, out: counted.append(out.shape[1]))
    assert act_differently_by(ours, theirs_with(pi0_to_layout(ours)), seen) <= 1e-5
    hook.remove()
    assert counted == [WORDS - 2]


def test_an_absent_camera_is_absent(ours):
    """Theirs leaves its tokens out of the prompt, ours out of sight."""
    theirs, seen = theirs_with(pi0_to_layout(ours)), a_moment(padded=False)
    seeing = torch.tensor([[True, True], [False, True], [True, False]])
    given, tokens = as_theirs(seen), VLM.vision.tokens
    ids, there = torch.zeros_like(given["input_ids"]), torch.zeros_like(given["attention_mask"])
    for row in range(ROWS):
        kept = torch.cat((given["input_ids"][row, : int(seeing[row].sum()) * tokens], seen.prompt[row]))
        ids[row, : len(kept)], there[row, : len(kept)] = kept, 1
    given |= {"input_ids": ids, "attention_mask": there, "pixel_attention_mask": seeing}
    noise = torch.randn(ROWS, CONFIG.chunk, CONFIG.numbers, generator=torch.Generator().manual_seed(7))
    context = ours.trunk.look(ours.trunk.vlm.prefix(seen.images, seen.prompt, seen.written, seeing), seen.state)
    with torch.no_grad():
        found = ours.head.sample(lambda x, t: ours.trunk.features(context, x, t), noise)
    wanted = theirs.sample_actions(noise=noise, num_steps=10, **given)
    assert relative(found, wanted) <= 1e-5
    assert relative(ours.act(seen, noise), wanted) > 1e-3


def test_one_changed_weight_is_seen_wherever_it_is(ours):
    theirs, seen = theirs_with(pi0_to_layout(ours)), a_moment(padded=True)
    used, ours.head.steps = int(seen.prompt[0, 0]), 1
    change = torch.Generator().manual_seed(4)
    silent = [UNREAD, "model.vlm.language_model.norm.weight"]
    last = f"model.vlm.language_model.layers.{VLM.layers - 1}"
    silent += [f"{last}.{part}.weight" for part in ("self_attn.q_proj", "self_attn.o_proj", "post_attention_layernorm")]
    silent += [f"{last}.mlp.{part}_proj.weight" for part in ("gate", "up", "down")]
    for name, parameter in theirs.named_parameters():
        # A row of a matrix or all of a vector, since the attention of some layers is nearly decided.
        row = slice(None) if parameter.ndim == 1 else used if name.endswith("embed_tokens.weight") else 1
        with torch.no_grad():
            kept = parameter[row].clone()
            parameter[row] += torch.randn(parameter[row].shape, generator=change)
            differs = act_differently_by(ours, theirs, seen)
            assert (differs > 1e-5) != (name in silent or name.endswith("k_proj.bias")), f"{name}: {differs}"
            parameter[row] = kept
    assert act_differently_by(ours, theirs, seen) <= 1e-5


def test_the_streams_apart_are_the_streams_together(ours):
    """Training runs both in one pass, use keeps the prefix: the same features."""
    for padded in (False, True):
        seen, batch = a_moment(padded), a_batch(a_moment(padded))
        with torch.no_grad():
            together = ours.trunk.think(seen, batch["actions"], batch["time"], batch).features
            apart = ours.trunk.features(ours.trunk.context(seen), batch["actions"], batch["time"])
        assert relative(apart, together) <= 1e-5


def test_full_size_has_as_many_parameters():
    with torch.device("meta"):
        ours = Policy(Pi0(PI0), FlowHead(PI0.width, PI0.numbers), chunk=PI0.chunk, numbers=PI0.numbers)
        theirs = transformers.PI0ForConditionalGeneration(transformers.PI0Config())
    count = sum(p.numel() for p in ours.parameters())
    unread = theirs.model.dit.embed_tokens.weight.numel()
    assert count == sum(p.numel() for p in theirs.parameters()) - unread == 3_238_048_528  # "3.3 billion"
    assert {n: p.shape for n, p in pi0_to_layout(ours).items()} == {
        n: p.shape for n, p in theirs.named_parameters() if n != UNREAD
    }


def test_weights_of_another_shape_are_refused(ours):
    weights = pi0_to_layout(ours)
    lacking = {name: tensor for name, tensor in weights.items() if name != "action_out_proj.bias"}
    with pytest.raises(UserError, match=r"action_out_proj\.bias is missing"):
        pi0_from_layout(our_pi0(), lacking)
    with pytest.raises(UserError, match="they differ"):
        pi0_from_layout(our_pi0(), weights | {"action_out_proj.bias": torch.zeros(9)})


def test_paligemma_answers_as_we_do():
    config = theirs_of(CONFIG).vlm_config
    config.text_config.use_bidirectional_attention = None
    theirs = randomise(transformers.PaliGemmaForConditionalGeneration(config), seed=3)
    assert theirs.lm_head.weight is theirs.model.language_model.embed_tokens.weight
    ours = VisionLanguage(VLM).eval()
    from_layout(ours, vlm_parts(VLM, theirs="model.", ours=""), theirs.state_dict())
    seen = a_moment(padded=False)
    answer = torch.randint(0, VLM.vocabulary, (ROWS, 5), generator=torch.Generator().manual_seed(8))
    pictures = torch.full((ROWS, CAMERAS * VLM.vision.tokens), IMAGE)
    ids = torch.cat((pictures, seen.prompt, answer), dim=1)
    kinds = torch.zeros_like(ids)
    kinds[:, -5:] = 1
    with torch.no_grad():
        wanted = theirs(
            input_ids=ids,
            pixel_values=(seen.images.float() / 127.5 - 1).flatten(0, 1),
            attention_mask=torch.ones_like(ids),
            token_type_ids=kinds,
        ).logits[:, -5:]
        found = ours(seen.images, seen.prompt, answer)
    assert relative(found, wanted) <= 1e-5
    changed = answer.clone()
    changed[:, 3] = (changed[:, 3] + 1) % VLM.vocabulary
    with torch.no_grad():
        after = ours(seen.images, seen.prompt, changed)
    assert torch.equal(after[:, :3], found[:, :3]), "an answer is causal"
    assert PALIGEMMA.vision.tokens == 256
