"""transformers' names for the weights of a PaliGemma: where each of their tensors lies in ours."""

from collections.abc import Iterator

from maquette.language.vision import VisionConfig
from maquette.language.vlm import VisionLanguageConfig
from maquette.nn.layouts import Part


def vlm_parts(config: VisionLanguageConfig, theirs: str = "model.vlm.", ours: str = "vlm.") -> Iterator[Part]:
    """A PaliGemma without the head, which is its embedding."""
    yield from _tower_parts(config.vision, f"{theirs}vision_tower", f"{ours}tower")
    for kind in ("weight", "bias"):
        yield Part(theirs=f"{theirs}multi_modal_projector.linear.{kind}", ours=f"{ours}projection.{kind}")
    yield Part(theirs=f"{theirs}language_model.embed_tokens.weight", ours=f"{ours}embedding.weight")
    yield from gemma_parts(config, config.hidden, 0, f"{theirs}language_model", ours)
    yield Part(theirs=f"{theirs}language_model.norm.weight", ours=f"{ours}norm.weight", centred=True)


def gemma_parts(config: VisionLanguageConfig, hidden: int, stream: int, theirs: str, ours: str) -> Iterator[Part]:
    """The layers of one stream, without embedding and last norm."""
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    for i in range(config.layers):
        a, b = f"{theirs}.layers.{i}", f"{ours}blocks.{i}.streams.{stream}"
        yield Part(theirs=f"{a}.input_layernorm.weight", ours=f"{b}.attention_norm.weight", centred=True)
        yield Part(theirs=f"{a}.self_attn.q_proj.weight", ours=f"{b}.qkv.weight", rows=slice(0, q))
        yield Part(theirs=f"{a}.self_attn.k_proj.weight", ours=f"{b}.qkv.weight", rows=slice(q, q + kv))
        yield Part(theirs=f"{a}.self_attn.v_proj.weight", ours=f"{b}.qkv.weight", rows=slice(q + kv, q + 2 * kv))
        yield Part(theirs=f"{a}.self_attn.o_proj.weight", ours=f"{b}.out.weight")
        yield Part(theirs=f"{a}.post_attention_layernorm.weight", ours=f"{b}.mlp_norm.weight", centred=True)
        yield Part(theirs=f"{a}.mlp.gate_proj.weight", ours=f"{b}.mlp.gate_up.weight", rows=slice(0, hidden))
        yield Part(theirs=f"{a}.mlp.up_proj.weight", ours=f"{b}.mlp.gate_up.weight", rows=slice(hidden, 2 * hidden))
        yield Part(theirs=f"{a}.mlp.down_proj.weight", ours=f"{b}.mlp.down.weight")


def _tower_parts(config: VisionConfig, theirs: str, ours: str) -> Iterator[Part]:
    w, p = config.width, config.patch
    kernel = f"{theirs}.embeddings.patch_embedding"
    yield Part(theirs=f"{kernel}.weight", ours=f"{ours}.patches.weight", shape=(w, 3, p, p))
    yield Part(theirs=f"{kernel}.bias", ours=f"{ours}.patches.bias")
    yield Part(theirs=f"{theirs}.embeddings.position_embedding.weight", ours=f"{ours}.places")
    for i in range(config.layers):
        a, b = f"{theirs}.encoder.layers.{i}", f"{ours}.layers.{i}"
        for kind in ("weight", "bias"):
            for n, name in enumerate(("q_proj", "k_proj", "v_proj")):
                rows = slice(n * w, (n + 1) * w)
                yield Part(theirs=f"{a}.self_attn.{name}.{kind}", ours=f"{b}.qkv.{kind}", rows=rows)
            for name, its in (
                ("layer_norm1", "attention_norm"),
                ("self_attn.out_proj", "out"),
                ("layer_norm2", "mlp_norm"),
                ("mlp.fc1", "mlp.up"),
                ("mlp.fc2", "mlp.down"),
            ):
                yield Part(theirs=f"{a}.{name}.{kind}", ours=f"{b}.{its}.{kind}")
    for kind in ("weight", "bias"):
        yield Part(theirs=f"{theirs}.post_layernorm.{kind}", ours=f"{ours}.norm.{kind}")
