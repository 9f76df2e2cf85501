"""openpi's side of test_openpi.py: its own client asks the server, and prints what it was told as JSON."""

import json
import sys

import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.image_tools import convert_to_uint8, resize_with_pad
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def observation(seed, **changes):
    generator = np.random.default_rng(seed)
    picture = resize_with_pad(convert_to_uint8(generator.random((40, 30, 3), np.float32)), 32, 32)
    state = np.array([0.1 * seed, 0.5], np.float32)
    return {"observation/images/top": picture, "observation/state": state, "prompt": "push the cup", **changes}


def told(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def main(port, key):
    client = WebsocketClientPolicy("127.0.0.1", int(port), api_key=key)
    found = {"metadata": client.get_server_metadata()}
    asked = [observation(seed) for seed in (1, 2)]
    answers = [client.infer(one) for one in asked]
    found["asked"] = [{name: told(value) for name, value in one.items()} for one in asked]
    found["actions"] = [told(one["actions"]) for one in answers]
    found["kinds"] = [str(one["actions"].dtype) for one in answers]
    found["timing"] = answers[1]["server_timing"]
    broker = ActionChunkBroker(WebsocketClientPolicy("127.0.0.1", int(port), api_key=key), action_horizon=3)
    found["one_by_one"] = [told(broker.infer(asked[0])["actions"]) for _ in range(3)]
    try:
        client.infer(observation(1, prompt=3))
    except RuntimeError as error:
        found["error"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
