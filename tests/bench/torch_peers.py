"""PyTorch, NumPy's OpenBLAS and oneDNN doing what recpipe does, as fast as we could make them.

A server, so that its start is not measured and its runs can stand between ours: it reads a command a line on stdin
and answers a number a line on stdout (`nan` for what this build cannot do).

    tune-train BATCH THREADS SECONDS        the fastest way to train at this batch, on 1 to THREADS threads: "WAY N"
    train BATCH WAY N SECONDS               samples/s of training on samples that are given
    tune-score USERS ITEMS THREADS SECONDS  the best number of users at once and of threads: "COUNT N"
    score USERS ITEMS COUNT N SECONDS       pairs/s of scoring all users x all items to the best 10
    product WAY ROWS IN OUT SECONDS         GFLOP/s of x [ROWS, IN] times W [IN, OUT], one thread; WAY: mkl, onednn,
                                            openblas
    inverse ITEMS THREADS                   seconds of one inverse by Cholesky, in single precision
    csv WAY PATH                            MB/s of a parser on one thread; WAY: pandas, pyarrow
    quit

Ways to train: dense and sparse. Both look a group's user up once (a positive and its negatives share it) and split the
first layer as recpipe does, W1 [u; i] = W1u u + W1i i. dense: fused Adam over everything. sparse: embeddings with
sparse gradients under SparseAdam, fused Adam for the tower. Scoring computes both halves of the first layer once.
"""

import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

USERS, ITEMS = 6040, 3706  # ml-1m
RATIO = 4
WIDTHS = (64, 32, 16, 8, 4, 1)


class Tower(nn.Module):
    def __init__(self, sparse=False, users=USERS, items=ITEMS):
        super().__init__()
        self.users = nn.Embedding(users, 64, sparse=sparse)
        self.items = nn.Embedding(items, 64, sparse=sparse)
        self.first_user = nn.Linear(64, 64)
        self.first_item = nn.Linear(64, 64, bias=False)
        self.rest = nn.ModuleList(nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:]))
        nn.init.normal_(self.users.weight, std=0.01)
        nn.init.normal_(self.items.weight, std=0.01)

    def forward(self, users, items):
        """users [groups], items [groups, 1 + RATIO] -> logits [groups, 1 + RATIO]"""
        user_half = self.first_user(self.users(users))
        item_half = self.first_item(self.items(items))
        x = torch.relu_(item_half + user_half[:, None, :])
        for layer in self.rest[:-1]:
            x = torch.relu_(layer(x))
        return self.rest[-1](x).squeeze(-1)


def adam(parameters):
    """Adam, fused where this PyTorch has that for the CPU (from 2.4 on), all tensors at once elsewhere."""
    parameters = list(parameters)
    try:
        optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
        for p in parameters:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        return optimizer
    except RuntimeError:
        return torch.optim.Adam(parameters, lr=1e-3, foreach=True)


def optimizers_of(model, way):
    if way == "dense":
        return [adam(model.parameters())]
    embeddings = [model.users.weight, model.items.weight]
    tower = [p for name, p in model.named_parameters() if not name.startswith(("users.", "items."))]
    return [torch.optim.SparseAdam(embeddings, lr=1e-3), adam(tower)]


def train(batch, way, threads, seconds):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    groups = max(1, batch // (1 + RATIO))
    pool = max(groups * 4, 1 << 15) // groups * groups
    users = torch.randint(USERS, (pool,))
    items = torch.randint(ITEMS, (pool, 1 + RATIO))
    labels = torch.zeros(groups, 1 + RATIO)
    labels[:, 0] = 1.0
    model = Tower(way == "sparse")
    optimizers = optimizers_of(model, way)

    def step(at):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        logits = model(users[at : at + groups], items[at : at + groups])
        F.binary_cross_entropy_with_logits(logits, labels).backward()
        for optimizer in optimizers:
            optimizer.step()

    for _ in range(3):
        step(0)
    begin = now = time.perf_counter()
    done = at = 0
    while now - begin < seconds:
        step(at)
        done += groups * (1 + RATIO)
        at = (at + groups) % pool
        now = time.perf_counter()
    return done / (now - begin)


def tune_train(batch, threads, seconds):
    ways = [(way, n) for way in ("dense", "sparse") for n in range(1, threads + 1)]
    way, n = max(ways, key=lambda choice: train(batch, *choice, seconds))
    return f"{way} {n}"


@torch.inference_mode()
def score(users, items, at_once, threads, seconds):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = Tower(users=users, items=items)
    user_halves = model.first_user(model.users.weight)
    item_halves = model.first_item(model.items.weight)
    begin = now = time.perf_counter()
    done = at = 0
    while now - begin < seconds or not done:
        x = torch.relu_(user_halves[at : at + at_once, None, :] + item_halves)
        for layer in model.rest[:-1]:
            x = torch.relu_(layer(x))
        torch.topk(model.rest[-1](x).squeeze(-1), min(10, items))
        done += x.shape[0] * items
        at = (at + at_once) % (users - users % at_once)
        now = time.perf_counter()
    return done / (now - begin)


def tune_score(users, items, threads, seconds):
    counts = [count for count in (1, 2, 4, 8, 16) if count <= users]
    ways = [(count, n) for count in counts for n in range(1, threads + 1)]
    count, n = max(ways, key=lambda choice: score(users, items, *choice, seconds))
    return f"{count} {n}"


def product(way, rows, inputs, outputs, seconds):
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, inputs), dtype=np.float32)
    w = rng.standard_normal((inputs, outputs), dtype=np.float32)
    if way == "openblas":
        out = np.empty((rows, outputs), dtype=np.float32)

        def call():
            np.matmul(x, w, out=out)

    elif way == "mkl":
        tx, tw, out = torch.from_numpy(x), torch.from_numpy(w), torch.empty(rows, outputs)

        def call():
            torch.mm(tx, tw, out=out)

    elif way == "onednn" and torch.backends.mkldnn.is_available():
        dx, dw = torch.from_numpy(x).to_mkldnn(), torch.from_numpy(w.T.copy()).to_mkldnn()

        def call():
            F.linear(dx, dw)

    else:
        return float("nan")
    with torch.inference_mode():
        for _ in range(10):
            call()
        begin = now = time.perf_counter()
        calls = 0
        while now - begin < seconds:
            for _ in range(50):
                call()
            calls += 50
            now = time.perf_counter()
    return 2.0 * rows * inputs * outputs * calls / (now - begin) / 1e9


def inverse(items, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    x = torch.randn(items, 512)
    gram = x @ x.T + 500.0 * torch.eye(items)
    for _ in range(2):  # the first one warms up
        begin = time.perf_counter()
        torch.cholesky_inverse(torch.linalg.cholesky(gram))
    return time.perf_counter() - begin


def csv(way, path):
    try:
        if way == "pandas":
            from pandas import read_csv as read
        else:
            import pyarrow
            from pyarrow.csv import ReadOptions, read_csv

            pyarrow.set_cpu_count(1)

            def read(path):
                return read_csv(path, ReadOptions(use_threads=False))

    except ImportError:
        return float("nan")
    begin = time.perf_counter()
    read(path)
    return os.path.getsize(path) / (time.perf_counter() - begin) / 1e6


COMMANDS = {
    "tune-train": (tune_train, (int, int, float)),
    "train": (train, (int, str, int, float)),
    "tune-score": (tune_score, (int, int, int, float)),
    "score": (score, (int, int, int, int, float)),
    "product": (product, (str, int, int, int, float)),
    "inverse": (inverse, (int, int)),
    "csv": (csv, (str, str)),
}


def main():
    print(f"PyTorch {torch.__version__.split('+')[0]}", flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words[0] == "quit":
            break
        function, types = COMMANDS[words[0]]
        try:
            answer = function(*(kind(word) for kind, word in zip(types, words[1:], strict=True)))
        except RuntimeError as error:
            print(f"torch_peers: {line.strip()}: {error}", file=sys.stderr)
            answer = float("nan")
        print(answer, flush=True)


if __name__ == "__main__":
    main()
