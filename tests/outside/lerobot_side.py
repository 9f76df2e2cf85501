"""What lerobot 0.4.4 itself does with datasets; runs in an environment of its own, made by scripts/lerobot.sh.

    lerobot_side.py read DIR | write DIR | upgrade DIR

Prints one line of JSON. PyTorch's CPU build has no torchvision beside it, so the one operator is announced by hand.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import numpy as np  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset  # noqa: E402


def read(directory):
    dataset = LeRobotDataset("local/made", root=directory, video_backend="pyav")
    frames = [dataset[i] for i in range(len(dataset))]
    found = {"episodes": dataset.meta.total_episodes, "frames": len(frames), "tasks": [f["task"] for f in frames]}
    numbers, pictures = {}, {}
    for name, feature in dataset.features.items():
        if feature["dtype"] in ("image", "video"):
            pixels = [(f[name].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy() for f in frames]
            pictures[name] = {
                "sha256": [hashlib.sha256(np.ascontiguousarray(p).tobytes()).hexdigest() for p in pixels],
                "means": [float(p.mean()) for p in pixels],
            }
        elif feature["dtype"] != "string":
            numbers[name] = [f[name].tolist() for f in frames]
    statistics = {name: {k: v.tolist() for k, v in one.items()} for name, one in dataset.meta.stats.items()}
    return found | {"numbers": numbers, "pictures": pictures, "statistics": statistics}


def write(directory):
    features = {
        "observation.state": {"dtype": "float32", "shape": (4,), "names": ["a", "b", "c", "grip"]},
        "action": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "observation.images.left": {"dtype": "image", "shape": (24, 32, 3), "names": ["height", "width", "channels"]},
        "observation.images.right": {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]},
    }
    dataset = LeRobotDataset.create(
        "local/theirs", fps=15, features=features, root=directory, robot_type="toy", use_videos=True, vcodec="h264"
    )
    rng = np.random.default_rng(0)
    for episode in range(3):
        for step in range(8 + episode):
            shade = np.uint8(12 * step + 40 * episode)
            dataset.add_frame(
                {
                    "observation.state": rng.normal(size=4).astype(np.float32),
                    "action": np.array([episode, step, 0.5], np.float32),
                    "observation.images.left": rng.integers(0, 256, (24, 32, 3), dtype=np.uint8),
                    "observation.images.right": np.full((32, 32, 3), shade),
                    "task": f"move the thing {episode % 2}",
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return {"frames": dataset.meta.total_frames}


def upgrade(directory):
    path = Path(directory)
    convert_dataset(path.name, root=path.parent, push_to_hub=False)
    return read(directory)


if __name__ == "__main__":
    print(json.dumps({"read": read, "write": write, "upgrade": upgrade}[sys.argv[1]](sys.argv[2])))
