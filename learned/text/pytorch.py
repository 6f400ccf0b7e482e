"""The training that learned/text/record.mjs left in a folder, once more in PyTorch, and how far apart the losses are.

node learned/text/record.mjs FOLDER
python3 learned/text/pytorch.py FOLDER [RESULT.json]    any PyTorch from 2.0 on; one thread

The same initial weights, the same batches in the same order, the same settings; GPT-2 is written out here, and knows nothing of the
package. Exit status 1 where a loss of a step is more than 1 % away.
"""

import array
import json
import math
import pathlib
import platform
import re
import statistics
import sys
import time

import torch
from torch.nn import functional

TOLERANCE = 0.01


def read_safetensors(path):
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:end]).items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", name
        begin, stop = entry["data_offsets"]
        values = torch.frombuffer(bytearray(data[end + begin : end + stop]), dtype=torch.float32)
        tensors[name.removeprefix("transformer.")] = values.reshape(entry["shape"])
    return tensors


def read_tokens(path, *shape):
    values = array.array("i")
    values.frombytes(path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return torch.tensor(values, dtype=torch.long).reshape(*shape)


def logits_of(weights, config, ids):
    width, heads = config["n_embd"], config["n_head"]
    batch, length = ids.shape

    def norm(x, name):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return functional.layer_norm(x, (width,), weight, bias, config["layer_norm_epsilon"])

    def linear(x, name):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def in_heads(x):
        return x.view(batch, length, heads, width // heads).transpose(1, 2)

    x = functional.embedding(ids, weights["wte.weight"]) + weights["wpe.weight"][:length]
    for layer in range(config["n_layer"]):
        name = f"h.{layer}"
        query, key, value = map(
            in_heads, linear(norm(x, f"{name}.ln_1"), f"{name}.attn.c_attn").split(width, dim=2)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + linear(attended.transpose(1, 2).reshape(batch, length, width), f"{name}.attn.c_proj")
        hidden = functional.gelu(linear(norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc"), approximate="tanh")
        x = x + linear(hidden, f"{name}.mlp.c_proj")
    return norm(x, "ln_f") @ weights["wte.weight"].T


def loss_of(weights, config, windows):
    logits = logits_of(weights, config, windows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def main():
    folder = pathlib.Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    ours = json.loads((folder / "training.json").read_text())
    assert config["activation_function"] == "gelu_new", "the approximation by tanh is what is written here"
    steps, batch, length, settings = ours["steps"], ours["batch"], ours["length"], ours["optimizer"]
    batches = read_tokens(folder / "batches.bin", steps, batch, length + 1)
    held_out = read_tokens(folder / "held-out.bin", -1, length + 1)
    torch.set_num_threads(1)
    weights = read_safetensors(folder / "initial.safetensors")
    for tensor in weights.values():
        tensor.requires_grad_()
    does_not_decay = re.compile(settings["withoutDecay"]).search
    groups = [
        {
            "params": [tensor for name, tensor in weights.items() if bool(does_not_decay(name)) == is_without],
            "weight_decay": 0.0 if is_without else settings["weightDecay"],
        }
        for is_without in (False, True)
    ]
    optimizer = torch.optim.AdamW(groups, betas=settings["betas"], eps=settings["epsilon"])

    losses, times = [], []
    for step in range(steps):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = ours["rates"][step]
        optimizer.zero_grad()
        loss = loss_of(weights, config, batches[step])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), settings["maxNorm"])
        optimizer.step()
        losses.append(loss.item())
        times.append(time.perf_counter() - start)
        if step == 0 or (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {losses[-1]:.4f}, here {ours['losses'][step]:.4f}", flush=True)
    with torch.no_grad():
        parts = [loss_of(weights, config, rows).item() * len(rows) for rows in held_out.split(batch)]
    held_out_loss = sum(parts) / len(held_out)

    apart = [abs(own - other) / other for own, other in zip(ours["losses"], losses)]
    largest = max(range(steps), key=lambda step: apart[step])
    last = slice(-min(100, steps), None)
    result = {
        "library": {key: ours[key] for key in ("version", "engine", "build", "hash")},
        "pytorch": {"version": torch.__version__, "python": platform.python_version(), "threads": 1},
        "steps": steps,
        "tokensPerStep": batch * length,
        "largestDifference": {"relative": apart[largest], "step": largest + 1},
        "meanDifference": statistics.fmean(apart),
        "lossOfLastSteps": {
            "steps": len(losses[last]),
            "library": statistics.fmean(ours["losses"][last]),
            "pytorch": statistics.fmean(losses[last]),
        },
        "heldOut": {"library": ours["heldOut"], "pytorch": held_out_loss},
        "losses": [
            {"step": step + 1, "library": ours["losses"][step], "pytorch": losses[step]}
            for step in range(steps)
            if step == 0 or (step + 1) % 100 == 0
        ],
    }
    if len(sys.argv) > 2:
        pathlib.Path(sys.argv[2]).write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"PyTorch {torch.__version__}: losses of {steps} steps at most {apart[largest]:.2%} apart (step {largest + 1}), "
        f"{result['meanDifference']:.3%} in the mean; "
        f"held out {ours['heldOut']:.4f} here, {held_out_loss:.4f} there; "
        f"{batch * length / statistics.median(times):.0f} tokens/s there"
    )
    within = all(math.isfinite(loss) for loss in losses) and apart[largest] <= TOLERANCE
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
