"""The systems of the field's overview: which study reproduces each, or none yet."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class System:
    """A system, its paper's year, title and address, its study under `maquette.studies`, and what runs already.

    `here` is a command that is there before its study.
    """

    name: str
    family: Literal["language", "video", "robotics"]
    year: int
    paper: str
    url: str
    study: str | None = None
    here: str | None = None


SYSTEMS = (
    System(
        "Scaling laws (Kaplan, Hoffmann)",
        "language",
        2022,
        "Training Compute-Optimal Large Language Models",
        "https://arxiv.org/abs/2203.15556",
        "scaling_laws",
    ),
    System(
        "Llama 3",
        "language",
        2024,
        "The Llama 3 Herd of Models",
        "https://arxiv.org/abs/2407.21783",
        here="maquette train tiny-llama",
    ),
    System(
        "InstructGPT: SFT, reward model, PPO",
        "language",
        2022,
        "Training language models to follow instructions with human feedback",
        "https://arxiv.org/abs/2203.02155",
        here="maquette train sft",
    ),
    System(
        "DPO",
        "language",
        2023,
        "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
        "https://arxiv.org/abs/2305.18290",
    ),
    System(
        "WRAP",
        "language",
        2024,
        "Rephrasing the Web: A Recipe for Compute and Data-Efficient Language Modeling",
        "https://arxiv.org/abs/2401.16380",
    ),
    System("EntiGraph", "language", 2024, "Synthetic continued pretraining", "https://arxiv.org/abs/2409.07431"),
    System(
        "Model collapse",
        "language",
        2024,
        "AI models collapse when trained on recursively generated data",
        "https://www.nature.com/articles/s41586-024-07566-y",
    ),
    System(
        "Collapse prevented",
        "language",
        2024,
        "Is Model Collapse Inevitable? Breaking the Curse of Recursion by Accumulating Real and Synthetic Data",
        "https://arxiv.org/abs/2404.01413",
    ),
    System(
        "Chain of thought",
        "language",
        2022,
        "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models",
        "https://arxiv.org/abs/2201.11903",
    ),
    System(
        "Self-consistency",
        "language",
        2022,
        "Self-Consistency Improves Chain of Thought Reasoning in Language Models",
        "https://arxiv.org/abs/2203.11171",
    ),
    System(
        "Tree of Thoughts",
        "language",
        2023,
        "Tree of Thoughts: Deliberate Problem Solving with Large Language Models",
        "https://arxiv.org/abs/2305.10601",
    ),
    System(
        "Test-time scaling",
        "language",
        2024,
        "Scaling LLM Test-Time Compute Optimally can be More Effective than Scaling Model Parameters",
        "https://arxiv.org/abs/2408.03314",
    ),
    System(
        "DeepSeek-R1",
        "language",
        2025,
        "DeepSeek-R1: Incentivizing Reasoning Capability in LLMs via Reinforcement Learning",
        "https://arxiv.org/abs/2501.12948",
        "deepseek_r1",
    ),
    System(
        "Coconut",
        "language",
        2024,
        "Training Large Language Models to Reason in a Continuous Latent Space",
        "https://arxiv.org/abs/2412.06769",
    ),
    System(
        "Thinking for safety",
        "language",
        2025,
        "Trading Inference-Time Compute for Adversarial Robustness",
        "https://arxiv.org/abs/2501.18841",
    ),
    System(
        "Web agents",
        "language",
        2023,
        "WebArena: A Realistic Web Environment for Building Autonomous Agents",
        "https://arxiv.org/abs/2307.13854",
    ),
    System(
        "LCoW",
        "language",
        2025,
        "Learning to Contextualize Web Pages for Enhanced Decision Making by LLM Agents",
        "https://arxiv.org/abs/2503.10689",
    ),
    System(
        "Text explanations of visual input",
        "language",
        2024,
        "VisualWebArena: Evaluating Multimodal Agents on Realistic Visual Web Tasks",
        "https://arxiv.org/abs/2401.13649",
    ),
    System(
        "Vision-language model",
        "language",
        2023,
        "Visual Instruction Tuning",
        "https://arxiv.org/abs/2304.08485",
        here="maquette train tiny-vlm",
    ),
    System("Computer use", "language", 2025, "Computer-Using Agent", "https://openai.com/index/computer-using-agent/"),
    System(
        "Latent diffusion",
        "video",
        2021,
        "High-Resolution Image Synthesis with Latent Diffusion Models",
        "https://arxiv.org/abs/2112.10752",
        here="maquette train tiny-video",
    ),
    System(
        "DiT", "video", 2022, "Scalable Diffusion Models with Transformers", "https://arxiv.org/abs/2212.09748", "dit"
    ),
    System(
        "Prompt upsampling",
        "video",
        2023,
        "Improving Image Generation with Better Captions",
        "https://cdn.openai.com/papers/dall-e-3.pdf",
    ),
    System(
        "Sora",
        "video",
        2024,
        "Video generation models as world simulators",
        "https://openai.com/index/video-generation-models-as-world-simulators/",
    ),
    System(
        "HunyuanVideo",
        "video",
        2024,
        "HunyuanVideo: A Systematic Framework For Large Video Generative Models",
        "https://arxiv.org/abs/2412.03603",
    ),
    System(
        "Video scaling laws",
        "video",
        2024,
        "Towards Precise Scaling Laws for Video Diffusion Transformers",
        "https://arxiv.org/abs/2411.17470",
    ),
    System(
        "Cosmos",
        "video",
        2025,
        "Cosmos World Foundation Model Platform for Physical AI",
        "https://arxiv.org/abs/2501.03575",
    ),
    System(
        "Movie Gen; the shared designs compared",
        "video",
        2024,
        "Movie Gen: A Cast of Media Foundation Models",
        "https://arxiv.org/abs/2410.13720",
    ),
    System(
        "Commercial APIs side by side",
        "video",
        2024,
        "Movie Gen Bench, as used to compare them",
        "https://github.com/facebookresearch/MovieGenBench",
    ),
    System(
        "VBench",
        "video",
        2023,
        "VBench: Comprehensive Benchmark Suite for Video Generative Models",
        "https://arxiv.org/abs/2311.17982",
    ),
    System(
        "EvalCrafter",
        "video",
        2023,
        "EvalCrafter: Benchmarking and Evaluating Large Video Generation Models",
        "https://arxiv.org/abs/2310.11440",
    ),
    System(
        "VideoScore",
        "video",
        2024,
        "VideoScore: Building Automatic Metrics to Simulate Fine-grained Human Feedback for Video Generation",
        "https://arxiv.org/abs/2406.15252",
    ),
    System(
        "PhyGenBench",
        "video",
        2024,
        "Towards World Simulator: Crafting Physical Commonsense-Based Benchmark for Video Generation",
        "https://arxiv.org/abs/2410.05363",
    ),
    System(
        "WorldSimBench",
        "video",
        2024,
        "WorldSimBench: Towards Video Generation Models as World Simulators",
        "https://arxiv.org/abs/2410.18072",
    ),
    System(
        "Genie 2",
        "video",
        2024,
        "Genie 2: A large-scale foundation world model",
        "https://deepmind.google/discover/blog/genie-2-a-large-scale-foundation-world-model/",
    ),
    System(
        "The cost of video: caching",
        "video",
        2024,
        "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model",
        "https://arxiv.org/abs/2411.19108",
    ),
    System(
        "The cost of video: few-step distillation",
        "video",
        2024,
        "Improved Distribution Matching Distillation for Fast Image Synthesis",
        "https://arxiv.org/abs/2405.14867",
    ),
    System(
        "SayCan",
        "robotics",
        2022,
        "Do As I Can, Not As I Say: Grounding Language in Robotic Affordances",
        "https://arxiv.org/abs/2204.01691",
    ),
    System(
        "UniPi",
        "robotics",
        2023,
        "Learning Universal Policies via Text-Guided Video Generation",
        "https://arxiv.org/abs/2302.00111",
    ),
    System(
        "SuSIE",
        "robotics",
        2023,
        "Zero-Shot Robotic Manipulation with Pretrained Image-Editing Diffusion Models",
        "https://arxiv.org/abs/2310.10639",
    ),
    System(
        "RT-2",
        "robotics",
        2023,
        "RT-2: Vision-Language-Action Models Transfer Web Knowledge to Robotic Control",
        "https://arxiv.org/abs/2307.15818",
    ),
    System(
        "Octo", "robotics", 2024, "Octo: An Open-Source Generalist Robot Policy", "https://arxiv.org/abs/2405.12213"
    ),
    System(
        "Pi-0",
        "robotics",
        2024,
        "π0: A Vision-Language-Action Flow Model for General Robot Control",
        "https://arxiv.org/abs/2410.24164",
        "pi0",
    ),
    System(
        "Helix",
        "robotics",
        2025,
        "Helix: A Vision-Language-Action Model for Generalist Humanoid Control",
        "https://www.figure.ai/news/helix",
    ),
    System(
        "Data curation",
        "robotics",
        2024,
        "DROID: A Large-Scale In-The-Wild Robot Manipulation Dataset",
        "https://arxiv.org/abs/2403.12945",
    ),
    System(
        "Action tokenizers",
        "robotics",
        2025,
        "FAST: Efficient Action Tokenization for Vision-Language-Action Models",
        "https://arxiv.org/abs/2501.09747",
    ),
)
