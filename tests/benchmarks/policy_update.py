"""The policy's forward and backward pass over one batch: TRL's own, and ours with shared prompts.

    python tests/benchmarks/policy_update.py [--json] [--prompt-tokens 1500 --completion-tokens 128 --group 8]
                                             [--prompts 1 --device cpu|cuda --size small|2b --dtype float32|bfloat16]

One batch of --prompts groups goes through both in turns, the same weights and loss. "limit" is the ratio of the tokens
that pass the language layers, G (P + C) / (P + G C); the vision tower (once instead of G times) and the language head
(completion tokens only; on CPUs, TRL's sees all) come on top. Bar on two CPU cores at the default sizes: a ratio of 4
and 80 % of the limit. On a CPU both run with what training.cpu does for them. Weights are random: time does not depend
on them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from tests.benchmarks.pairs import peak_bytes, peak_in_own_process, timed_pairs, told  # noqa: E402
from tests.training.shared_prefix_helpers import group_batch, shared_log_probs, small_model  # noqa: E402
from tests.training.stock_trl import stock_log_probs  # noqa: E402
from training.cpu import speed_up_on_cpu  # noqa: E402
from training.shared_prefix import enable_shared_prefix  # noqa: E402

BAR_RATIO, BAR_SHARE = 4.0, 0.8
SIZES = {
    "small": {"hidden": 256, "layers": 4, "heads": 4, "kv_heads": 2, "vocab": 2048, "vision_hidden": 128,
              "vision_layers": 2},
    "2b": {"hidden": 2048, "layers": 28, "heads": 32, "kv_heads": 16, "vocab": 151936, "vision_hidden": 1024,
           "vision_layers": 24},
}  # fmt: skip
IMAGE_SHARE = 0.4
"""Of the prompt's tokens, those of its screenshot."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--prompt-tokens", type=int, default=1500)
    parser.add_argument("--completion-tokens", type=int, default=128)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--attention", choices=["eager", "sdpa"], help="default: eager on a CPU, sdpa on a GPU")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing in both")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its default")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    parser.add_argument("--memory-of", choices=["stock", "ours"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    model, batch = _model_and_batch(args)
    start = peak_bytes(args.device)
    updates = {name: lambda compute=compute: _update(compute, model, batch) for name, compute in COMPUTE.items()}
    if args.memory_of:
        updates[args.memory_of]()
        print(json.dumps({"start": start, "peak": peak_bytes(args.device)}))
        return
    result = _differences(updates, model)
    result |= timed_pairs(updates["stock"], updates["ours"], args.pairs)
    limit = args.group * (args.prompt_tokens + args.completion_tokens)
    limit /= args.prompt_tokens + args.group * args.completion_tokens
    share = result["ratio_wall"] / limit
    result |= {"token_limit": round(limit, 3), "share_of_limit": round(share, 3)}
    result["bar_reached"] = result["ratio_wall"] >= BAR_RATIO and share >= BAR_SHARE
    if not args.no_memory:
        own = [word for word in sys.argv[1:] if word != "--json"]
        result |= peak_in_own_process(__file__, own)
    settings = {name: getattr(args, name) for name in ("prompt_tokens", "completion_tokens", "group", "prompts")}
    settings |= {"size": args.size, "dtype": args.dtype, "device": args.device, "threads": torch.get_num_threads()}
    settings |= {"parameters": sum(p.numel() for p in model.parameters()), "load_average": os.getloadavg()[0]}
    told({"benchmark": "policy_update", "settings": settings, **result}, args.json)


COMPUTE = {"stock": stock_log_probs, "ours": shared_log_probs}


def _model_and_batch(args):
    side = max(1, round(math.sqrt(IMAGE_SHARE * args.prompt_tokens / 2)))
    grid = (2 * side, 4 * side)  # patches: twice as wide as high, four to a token
    num_text = args.prompt_tokens - 2 * side * side - 4
    attention = args.attention or ("eager" if args.device == "cpu" else "sdpa")
    model = small_model(**SIZES[args.size], attention=attention).to(args.device, getattr(torch, args.dtype))
    if attention == "eager":
        speed_up_on_cpu(model)
    enable_shared_prefix(model)
    if args.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    lengths = [args.completion_tokens] * (args.group * args.prompts)
    batch = group_batch([(num_text, [grid])] * args.prompts, lengths, vocab=SIZES[args.size]["vocab"])
    assert batch.prompt_ids.size(1) == args.prompt_tokens
    for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"):
        setattr(batch, name, getattr(batch, name).to(args.device))
    batch.images = [[(patches.to(args.device), grid) for patches, grid in images] for images in batch.images]
    return model, batch


def _update(compute, model, batch):
    """Log-probabilities; the gradients of a GRPO loss stay on the model."""
    model.zero_grad()
    logps, _ = compute(model, batch)
    advantages = torch.linspace(-1, 1, logps.size(0), device=logps.device)[:, None]
    (-(advantages * (logps - logps.detach()).exp()).mean()).backward()
    if logps.is_cuda:
        torch.cuda.synchronize()
    return logps.detach()


def _differences(updates, model):
    """Of log-probabilities and gradients, relative to the largest of TRL's; both are warmed up by it."""
    logps, gradients = {}, {}
    for name in ("stock", "ours"):
        logps[name] = updates[name]().float()
        gradients[name] = {key: p.grad.float().cpu() for key, p in model.named_parameters() if p.grad is not None}
    stock, ours = gradients["stock"], gradients["ours"]
    total = math.sqrt(sum(float(g.square().sum()) for g in stock.values()))
    apart = math.sqrt(sum(float((ours[key] - g).square().sum()) for key, g in stock.items()))
    return {
        "largest_log_prob_difference": float((logps["ours"] - logps["stock"]).abs().max()),
        "largest_gradient_difference_over_largest_gradient": float(
            max((ours[key] - g).abs().max() for key, g in stock.items()) / max(g.abs().max() for g in stock.values())
        ),
        "gradient_difference_norm_over_norm": apart / total,
    }


if __name__ == "__main__":
    main()
