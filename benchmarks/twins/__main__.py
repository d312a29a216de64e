"""The worker process of a twin; see `benchmarks.turns`."""

import importlib
import time
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import turns

GEMM_SIDE = 2048


def build(order: dict[str, Any]) -> tuple[dict[str, turns.Run], dict[str, Any]]:
    """What the worker runs; `order` has `config` (flat), `twin`, `variant`, .npy files."""
    settings = {**order["config"], "variant": order["variant"]}
    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    images = torch.from_numpy(np.load(order["images"])).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(np.load(order["labels"]).astype(np.int64))
    module = importlib.import_module(f"benchmarks.twins.{order['twin']}")
    twin = module.build(images, labels, settings)

    def steps(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            twin.step()
        return time.perf_counter() - begin

    a, b = torch.randn(2, GEMM_SIDE, GEMM_SIDE).unbind()

    def gemm(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            torch.mm(a, b)
        return time.perf_counter() - begin

    steps(5)  # compiles, if it is to be compiled
    about: dict[str, Any] = {"torch": torch.__version__}
    if settings["variant"] != "compiled":
        with FlopCounterMode(display=False) as counter:
            twin.step()
        about["flops"] = counter.get_total_flops()
    return {"steps": steps, "gemm": gemm}, about


if __name__ == "__main__":
    turns.serve(build)
