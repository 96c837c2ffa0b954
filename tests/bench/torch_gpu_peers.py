"""PyTorch training and scoring the models of gpu.c on the same device, as fast as we could make it.

    torch_gpu_peers.py [DEVICE]     cuda (the default), cuda:1, cpu

A server: a command a line on stdin, an answer a line on stdout: values separated by blanks, one a run, or "skip" and the
reason. The first line it prints is its name, or "skip" and why there will be no answers.

    train KIND USERS ITEMS BATCH PRECISION WAY RUNS SECONDS    samples/s of training steps
    score KIND USERS ITEMS PRECISION WAY RUNS SECONDS          pairs/s of all users x all items to the best 10
    quit

KIND: mlp (the seed tower), neumf (NVIDIA's sizes), mf. PRECISION: fp32 (TF32 off), tf32, bf16 (autocast, fp32 weights).
Ways to train:
    eager_dense     Adam, fused, over everything
    eager_sparse    embeddings with sparse gradients under SparseAdam, fused Adam for the rest
    compile         torch.compile of the forward, backward with it; Adam, fused
    graph           the whole step, drawing and Adam included, as one CUDA graph
    compile_graph   both
Ways to score: eager, compile.
Positives lie on the device, negatives are drawn there at every step, uniformly and without looking whether the user
knows them, which is less work than what they stand beside. The first layer is split and a group's user is looked up
once, as there. Times are CUDA events' (the host's clock on the CPU), after steps that warm up.
"""

import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

RATIO, TOP = 4, 10
LAYERS = {"mlp": (64, 64, 64, 32, 16, 8, 4, 1), "neumf": (128, 128, 256, 128, 64, 1)}  # embeddings, then outputs
FACTORS = {"neumf": 64, "mf": 64}
DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")


class Model(nn.Module):
    def __init__(self, kind, users, items, sparse=False):
        super().__init__()
        self.kind, self.rows = kind, []

        def table(count, size, std=0.01):
            rows = nn.Embedding(count, size, sparse=sparse)
            nn.init.normal_(rows.weight, std=std)
            self.rows.append(rows.weight)
            return rows

        if kind in LAYERS:
            user_size, item_size, *widths = LAYERS[kind]
            self.users, self.items = table(users, user_size), table(items, item_size)
            self.first_user = nn.Linear(user_size, widths[0])
            self.first_item = nn.Linear(item_size, widths[0], bias=False)
            self.rest = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        if kind in FACTORS:
            self.user_factors, self.item_factors = table(users, FACTORS[kind]), table(items, FACTORS[kind])
        if kind == "neumf":
            self.weights = nn.Parameter(torch.ones(FACTORS[kind]))
        if kind == "mf":
            self.user_biases, self.item_biases = table(users, 1), table(items, 1)

    def tower(self, user_half, item_half):
        x = F.relu(item_half + user_half[:, None, :])
        for layer in self.rest[:-1]:
            x = F.relu(layer(x))
        return self.rest[-1](x).squeeze(-1)

    def query(self, users):
        query = self.user_factors(users)
        return query * self.weights if self.kind == "neumf" else query

    def forward(self, users, items):
        """users [groups], items [groups, 1 + RATIO] -> logits [groups, 1 + RATIO]"""
        logits = 0.0
        if self.kind in LAYERS:
            logits = self.tower(self.first_user(self.users(users)), self.first_item(self.items(items)))
        if self.kind in FACTORS:
            logits = logits + (self.item_factors(items) * self.query(users)[:, None, :]).sum(-1)
        if self.kind == "mf":
            logits = logits + self.user_biases(users) + self.item_biases(items).squeeze(-1)
        return logits

    def score(self, users, item_half, item_rows):
        """A block of users against all items -> the best TOP"""
        scores = 0.0
        if self.kind in LAYERS:
            scores = self.tower(self.first_user(self.users(users)), item_half)
        if self.kind in FACTORS:
            scores = scores + self.query(users) @ item_rows.T
        if self.kind == "mf":
            scores = scores + self.user_biases(users) + self.item_biases.weight.squeeze(-1)
        return torch.topk(scores, min(TOP, scores.shape[-1]))


def set_precision(precision):
    """Leaves the context in which products are of that precision."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def seconds_of(work):
    """Of the device, from the first thing that is queued to the last."""
    if DEVICE.type != "cuda":
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def rates(call, amount, runs, seconds):
    """`amount` a second of call(), a value a run, each of about so many seconds."""
    for _ in range(3):
        call()
    once = max(seconds_of(call), 1e-6)
    count = max(1, int(seconds / once))

    def work():
        for _ in range(count):
            call()

    work()
    return [amount * count / seconds_of(work) for _ in range(runs)]


class Trainer:
    def __init__(self, kind, users, items, batch, precision, way):
        cuda = DEVICE.type == "cuda"
        self.groups, self.items = max(1, batch // (1 + RATIO)), items
        pool = max(4 * self.groups, 1 << 15)
        self.pool_users = torch.randint(users, (pool,), device=DEVICE)
        self.pool_items = torch.randint(items, (pool, 1), device=DEVICE)
        self.at = torch.zeros((), dtype=torch.int64, device=DEVICE)
        self.places = torch.arange(self.groups, device=DEVICE)
        self.labels = torch.zeros(self.groups, 1 + RATIO, device=DEVICE)
        self.labels[:, 0] = 1.0
        self.context = set_precision(precision)
        self.model = Model(kind, users, items, way == "eager_sparse").to(DEVICE)
        dense = list(self.model.parameters())
        self.optimizers = []
        if way == "eager_sparse":
            rows = {id(weight) for weight in self.model.rows}
            self.optimizers.append(torch.optim.SparseAdam([p for p in dense if id(p) in rows], lr=1e-3))
            dense = [p for p in dense if id(p) not in rows]
        if dense:
            self.optimizers.append(torch.optim.Adam(dense, lr=1e-3, fused=True, capturable=cuda and "graph" in way))
        self.forward = torch.compile(self.loss) if "compile" in way else self.loss

    def loss(self, users, items):
        with self.context:
            return F.binary_cross_entropy_with_logits(self.model(users, items).float(), self.labels)

    def step(self):
        places = (self.at + self.places) % self.pool_users.shape[0]
        self.at += self.groups
        negatives = torch.randint(self.items, (self.groups, RATIO), device=DEVICE)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.forward(self.pool_users[places], torch.cat((self.pool_items[places], negatives), 1)).backward()
        for optimizer in self.optimizers:
            optimizer.step()


def train(kind, users, items, batch, precision, way, runs, seconds):
    if "graph" in way and DEVICE.type != "cuda":
        return "skip CUDA graphs need a CUDA device"
    trainer = Trainer(kind, users, items, batch, precision, way)
    call = trainer.step
    if "graph" in way:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                trainer.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            trainer.step()
        call = graph.replay
    return rates(call, trainer.groups * (1 + RATIO), runs, seconds)


@torch.inference_mode()
def score(kind, users, items, precision, way, runs, seconds):
    context = set_precision(precision)
    model = Model(kind, users, items).to(DEVICE)
    run = torch.compile(model.score) if way == "compile" else model.score
    with context:
        item_half = model.first_item(model.items.weight) if kind in LAYERS else None
        item_rows = model.item_factors.weight if kind in FACTORS else None
        best = []
        for at_once in (4, 16, 64):  # users: the block of activations is what limits them
            if at_once > users:
                break
            block = torch.arange(at_once, device=DEVICE)
            try:
                values = rates(lambda: run(block, item_half, item_rows), at_once * items, runs, seconds)
            except torch.cuda.OutOfMemoryError:
                break
            best = max(best, values, key=lambda v: sorted(v)[len(v) // 2] if v else 0.0)
    return best if best else "skip fewer users than a block"


COMMANDS = {
    "train": (train, (str, int, int, int, str, str, int, float)),
    "score": (score, (str, int, int, str, str, int, float)),
}


def answer(line):
    words = line.split()
    function, types = COMMANDS[words[0]]
    torch.manual_seed(1)
    try:
        values = function(*(kind(word) for kind, word in zip(types, words[1:], strict=True)))
    except Exception as error:  # whatever this build of PyTorch cannot do: compilers missing, memory, operators
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return f"skip {type(error).__name__}: {reason[0][:160]}".replace("\t", " ")
    finally:
        torch._dynamo.reset()
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()
    return values if isinstance(values, str) else " ".join(f"{value:.9g}" for value in values)


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # compilers talk on stdout
    if DEVICE.type == "cuda" and not torch.cuda.is_available():
        print("skip this PyTorch sees no CUDA device", file=out, flush=True)
        return
    print(f"PyTorch {torch.__version__.split('+')[0]}", file=out, flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        if line.strip():
            print(answer(line), file=out, flush=True)


if __name__ == "__main__":
    main()
