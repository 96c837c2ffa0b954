"""The seed's tower in PyTorch, trained as `train-mlp --dropout 0 --weight-decay 0 --average 0` trains it: what its
rankings are worth on the NCF paper's MovieLens-1M benchmark. Figures of ours stand beside these in docs/results.md.

    torch_quality.py FOLDER [--batch 1280] [--lr 0.001] [--epochs 15] [--seed 1] [--threads 2]

FOLDER holds train.tsv.gz, test.tsv and test.negative.gz. After each epoch a line: epoch, HR@10, NDCG@10, seconds of
training. Embeddings begin normal with deviation 0.01, weights by Glorot's uniform rule, biases at 0; a tower that is dead
(every logit equal) shows 0 for good: take another seed. Ties count against the truth; a user's own item among the negatives is dropped, as the paper's scorer does.
"""

import argparse
import gzip
import math
import time

import numpy as np
import torch
from torch.nn import functional as F

from torch_peers import ITEMS, RATIO, USERS, Tower, adam


def read(folder):
    pairs = np.loadtxt(gzip.open(f"{folder}/train.tsv.gz"), dtype=np.int64)[:, :2]
    lists = []
    with gzip.open(f"{folder}/test.negative.gz", "rt") as lines:
        for line in lines:
            first, *rest = line.rstrip("\n").split("\t")
            user, item = (int(word) for word in first.strip("()").split(","))
            lists.append((user, item, [int(word) for word in rest if int(word) != item]))
    return pairs, lists


def fresh_negatives(rng, seen, users):
    """[len(users), RATIO] uniform items that the users have not seen."""
    negatives = rng.integers(ITEMS, size=(len(users), RATIO))
    while True:
        bad = seen[users[:, None], negatives]
        if not bad.any():
            return negatives
        negatives[bad] = rng.integers(ITEMS, size=int(bad.sum()))


@torch.inference_mode()
def evaluate(model, lists):
    hits = gain = 0.0
    width = max(len(negatives) for _, _, negatives in lists)
    for user, item, negatives in lists:
        items = torch.tensor([[item, *negatives]])
        scores = model(torch.tensor([user]), items)[0]
        rank = int((scores[1:] >= scores[0]).sum())
        if rank < 10:
            hits += 1
            gain += 1 / math.log2(rank + 2)
    assert width <= 99
    return hits / len(lists), gain / len(lists)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--batch", type=int, default=1280)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    pairs, lists = read(o.folder)
    seen = np.zeros((USERS, ITEMS), dtype=bool)
    seen[pairs[:, 0], pairs[:, 1]] = True
    model = Tower()
    for layer in (model.first_user, model.first_item, *model.rest):
        torch.nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
    optimizer = adam(model.parameters())
    for group in optimizer.param_groups:
        group["lr"] = o.lr
    groups = max(1, o.batch // (1 + RATIO))
    labels = torch.zeros(groups, 1 + RATIO)
    labels[:, 0] = 1.0
    for epoch in range(1, o.epochs + 1):
        shuffled = pairs[rng.permutation(len(pairs))]
        items = np.concatenate([shuffled[:, 1:2], fresh_negatives(rng, seen, shuffled[:, 0])], axis=1)
        users, items = torch.from_numpy(shuffled[:, 0].copy()), torch.from_numpy(items)
        begin = time.perf_counter()
        for at in range(0, len(users), groups):
            optimizer.zero_grad(set_to_none=True)
            logits = model(users[at : at + groups], items[at : at + groups])
            F.binary_cross_entropy_with_logits(logits, labels[: len(logits)]).backward()
            optimizer.step()
        seconds = time.perf_counter() - begin
        print(epoch, *(f"{figure:.4f}" for figure in evaluate(model, lists)), f"{seconds:.1f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
