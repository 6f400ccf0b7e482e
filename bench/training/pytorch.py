"""The step of training of `npm run bench:training` in PyTorch, one thread: a reference line, not a peer.

python3 bench/training/pytorch.py [rounds]    with Debian's python3-torch, or any PyTorch from 2.0 on

Weights are drawn anew, of the same ranges: times do not depend on them. Prints the version, the median and the least time of a step
in milliseconds, and the first and the last loss.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, LENGTH, BATCH = 4, 256, 8, 1024, 512, 256, 8
GFLOP = 43.5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.LayerNorm(WIDTH)
        self.projection = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        self.second = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, INNER)
        self.down = nn.Linear(INNER, WIDTH)

    def forward(self, x):
        parts = self.projection(self.first(x)).view(BATCH, LENGTH, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH))
        return x + self.down(functional.gelu(self.up(self.second(x)), approximate="tanh"))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Parameter(torch.empty(VOCABULARY, WIDTH).uniform_(-0.1, 0.1))
        self.places = nn.Parameter(torch.empty(LENGTH, WIDTH).uniform_(-0.1, 0.1))
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, ids):
        x = functional.embedding(ids, self.words) + self.places
        return functional.linear(self.norm(self.blocks(x)), self.words)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = Decoder()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01
    )
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH + 1))
    ids, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].reshape(-1)

    def step():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(ids).reshape(-1, VOCABULARY), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(3)]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        losses.append(step())
        times.append((time.perf_counter() - start) * 1000)
    median, least = statistics.median(times), min(times)
    print(f"PyTorch {torch.__version__}, one thread: {median:.0f} ms, least {least:.0f} ms,", end=" ")
    print(f"{GFLOP / median * 1000:.1f} GFLOP/s; losses {losses[0]:.3f} to {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
