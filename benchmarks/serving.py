"""`maquette serve` under many clients at once: time to the first token, how even the stream is, no request lost.

    python benchmarks/serving.py                        16 clients on both models, a minute or two on two idle cores
    python benchmarks/serving.py --clients 4 --requests 2 --only 1M
    python benchmarks/serving.py --record               the usual load, kept in results/benchmarks/serving.json

A server in a process of its own; each client streams one completion after another over HTTP, with prompts and lengths
of its own. A request is lost when its stream does not end as it should, with as many tokens as were asked for.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from lm_sampling import SHAPES
from rich.console import Console
from rich.table import Table

from maquette.core.files import write_json
from maquette.core.provenance import circumstances
from maquette.core.seeds import numpy_generator, torch_generator
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama

CLIENTS, REQUESTS = 16, 8
PROMPT, NEW = (16, 128), (32, 128)
"""Tokens of a prompt and of its completion, at least and at most."""
RECORD = Path(__file__).parent.parent / "results" / "benchmarks" / "serving.json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a client saw of one request."""

    asked: int
    arrivals: tuple[float, ...]
    """Seconds from the request at which each piece of text came."""
    tokens: int
    whole: bool

    @property
    def lost(self) -> bool:
        """Whether it is not what was asked for."""
        return not (self.whole and self.tokens == self.asked and self.arrivals)


@contextmanager
def serving(shape: str) -> Iterator[str]:
    """A server for random weights; its URL."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / shape
        checkpoints.save(Llama(SHAPES[shape]).initialise(torch_generator(0, "serving")), folder)
        tokenizers.save(tokenizers.byte_tokenizer(), folder)
        command = [Path(sys.executable).with_name("maquette"), "serve", folder, "--port", "0", "--context", "512"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                started = re.search(r"http://\S+", process.stdout.readline())
                if started is None:
                    raise RuntimeError("The server did not start; run `maquette serve` by hand to see why.")
                yield started[0]
            finally:
                process.terminate()


async def ask(client: httpx.AsyncClient, shape: str, prompt: list[int], new: int, seed: int) -> Answer:
    """Stream one completion of exactly `new` tokens."""
    body = {"model": shape, "prompt": prompt, "max_tokens": new, "min_tokens": new, "seed": seed, "stream": True}
    body |= {"return_token_ids": True}
    arrivals, tokens, whole = list[float](), 0, False
    began = time.perf_counter()
    try:
        async with client.stream("POST", "completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    whole = answer.status_code == 200
                elif line:
                    arrivals.append(time.perf_counter() - began)
                    tokens += sum(len(one["token_ids"]) for one in json.loads(line[6:]).get("choices", ()))
    except httpx.HTTPError:
        whole = False
    return Answer(asked=new, arrivals=tuple(arrivals), tokens=tokens, whole=whole)


async def load(url: str, shape: str, clients: int, requests: int) -> tuple[list[Answer], float]:
    """All clients at once, after one request that pays for the server's start; the answers and their seconds."""
    limits = httpx.Limits(max_connections=clients)

    async def one_after_another(client: httpx.AsyncClient, number: int) -> list[Answer]:
        draw = numpy_generator(0, "client", number)
        found = []
        for request in range(requests):
            prompt = draw.integers(0, 256, draw.integers(*PROMPT, endpoint=True)).tolist()
            found.append(await ask(client, shape, prompt, int(draw.integers(*NEW, endpoint=True)), request))
        return found

    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        await ask(client, shape, [1, 2, 3], 8, 0)
        began = time.perf_counter()
        answers = await asyncio.gather(*(one_after_another(client, number) for number in range(clients)))
        return [answer for some in answers for answer in some], time.perf_counter() - began


def figures(answers: list[Answer], seconds: float) -> dict[str, Any]:
    """Milliseconds at the median and the 95th percentile."""
    kept = [one for one in answers if not one.lost]

    def of(values: list[float]) -> dict[str, float]:
        return {f"p{p}": 1e3 * float(np.percentile(values, p)) if values else float("nan") for p in (50, 95)}

    return {
        "requests": len(answers),
        "lost": len(answers) - len(kept),
        "first_token_ms": of([one.arrivals[0] for one in kept]),
        "between_tokens_ms": of([gap for one in kept for gap in np.diff(one.arrivals)]),
        "whole_ms": of([one.arrivals[-1] for one in kept]),
        "tokens_per_s": sum(one.tokens for one in kept) / seconds,
    }


def main() -> int:
    """The command line; 1 when a request was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=CLIENTS, metavar="N")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N", help="of each client")
    parser.add_argument("--only", choices=SHAPES, help="one model")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    arguments = parser.parse_args()
    if arguments.record and (arguments.only or (arguments.clients, arguments.requests) != (CLIENTS, REQUESTS)):
        parser.error("--record takes the usual load alone.")
    table = Table("", "requests", "lost", "first token ms", "between tokens ms", "whole ms", "tokens/s")
    results = {}
    for shape in [arguments.only] if arguments.only else SHAPES:
        with serving(shape) as url:
            found = figures(*asyncio.run(load(url, shape, arguments.clients, arguments.requests)))
        results[shape] = found
        times = [found[f"{name}_ms"] for name in ("first_token", "between_tokens", "whole")]
        cells = [f"{one['p50']:.3g}, p95 {one['p95']:.3g}" for one in times]
        table.add_row(shape, str(found["requests"]), str(found["lost"]), *cells, f"{found['tokens_per_s']:.0f}")
    Console(width=120).print(table)
    print(f"{arguments.clients} clients, each with {arguments.requests} streamed completions one after another")
    if arguments.record:
        about = circumstances() | {"threads": os.cpu_count()}
        write_json(RECORD, about | {"clients": CLIENTS, "cases": results})
    return int(any(found["lost"] for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
