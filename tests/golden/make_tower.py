#!/usr/bin/env python3
"""Makes tower.json: what training the tower must give, by an independent implementation.

Usage: make_tower.py >tower.json      (needs numpy; everything in float64, whole matrices at a time)

Follows the definitions, not the code: mean binary cross-entropy over the samples of a batch that exist, Adam
(Kingma & Ba 2015, algorithm 1), lazily on the embedding rows that a batch touches ("sparse") or on every row,
decoupled weight decay (Loshchilov & Hutter 2019) on weights and on the embedding rows that are stepped. The
gradient is checked against central differences here; values near a kink of ReLU or of Adam's epsilon, where
float32 may rightly differ, are refused, so that every number written is one that must be met.
"""
import json
import sys

import numpy as np

CASES = [
    dict(name="small, sparse", layers=[12, 5, 3, 1], users=6, items=9, ratio=2, groups=4,
         rates=[0.02, 0.02, 0.01], decay=0.0, epsilon=1e-8, dense=False, missing=False, seed=2),
    dict(name="small, dense, decay", layers=[12, 5, 3, 1], users=6, items=9, ratio=2, groups=4,
         rates=[0.02, 0.02, 0.01], decay=0.3, epsilon=1e-8, dense=True, missing=False, seed=2),
    dict(name="small, sparse, decay, missing negatives", layers=[10, 7, 1], users=5, items=4, ratio=3,
         groups=3, rates=[0.01, 0.03, 0.02, 0.01], decay=0.2, epsilon=1e-8, dense=False, missing=True,
         seed=1),
    dict(name="the seed's tower", layers=[128, 64, 32, 16, 8, 4, 1], users=20, items=30, ratio=4, groups=16,
         rates=[0.001, 0.001, 0.001], decay=0.0, epsilon=1e-4, dense=False, missing=False,
         seed=1),
]
BETA1, BETA2 = 0.9, 0.999


def first_values(number, rows, columns, scale):
    """The starting point, by a formula that the test repeats: float32 values of a scrambled counter."""
    k = np.arange(rows * columns, dtype=np.int64)
    scrambled = (5 * k * k + (2 * number + 17) * k + 11 * number + 5) % 1013
    return (scale * (scrambled / 1013.0 - 0.3)).astype(np.float32).astype(np.float64).reshape(rows, columns)


class Tower:
    def __init__(self, case):
        layers, half = case["layers"], case["layers"][0] // 2
        shapes = [("user_embedding", case["users"], half), ("item_embedding", case["items"], half)]
        for number, (inputs, outputs) in enumerate(zip(layers, layers[1:])):
            shapes += [(f"mlp.{number}.weight", outputs, inputs), (f"mlp.{number}.bias", 1, outputs)]
        self.depth, self.epsilon = len(layers) - 1, case["epsilon"]
        self.values = {}
        for number, (name, rows, columns) in enumerate(shapes):
            scale = 3.0 / np.sqrt(columns) if name.endswith("weight") else 1.0
            self.values[name] = first_values(number, rows, columns, scale)
        self.first = {name: np.zeros_like(v) for name, v in self.values.items()}
        self.second = {name: np.zeros_like(v) for name, v in self.values.items()}
        self.steps = 0

    def forward(self, users, items):
        """Logits, and every layer's input and pre-activation."""
        a = np.hstack([self.values["user_embedding"][users], self.values["item_embedding"][items]])
        inputs, sums = [], []
        for layer in range(self.depth):
            inputs.append(a)
            z = a @ self.values[f"mlp.{layer}.weight"].T + self.values[f"mlp.{layer}.bias"]
            sums.append(z)
            a = np.maximum(z, 0.0)
        return sums[-1][:, 0], inputs, sums

    def loss(self, users, items, labels):
        z = self.forward(users, items)[0]
        return np.mean(np.logaddexp(0.0, z) - labels * z)

    def gradients(self, users, items, labels):
        z, inputs, sums = self.forward(users, items)
        nearest = min(np.abs(s).min() for s in sums[:-1])
        assert nearest > 1e-5, "a unit stands on the kink of ReLU: another seed"
        d = ((1.0 / (1.0 + np.exp(-z)) - labels) / len(z))[:, None]
        gradients = {}
        for layer in reversed(range(self.depth)):
            if layer < self.depth - 1:
                d = d * (sums[layer] > 0)
            gradients[f"mlp.{layer}.weight"] = d.T @ inputs[layer]
            gradients[f"mlp.{layer}.bias"] = d.sum(axis=0, keepdims=True)
            d = d @ self.values[f"mlp.{layer}.weight"]
        half = self.values["user_embedding"].shape[1]
        sides = ("user_embedding", users, d[:, :half]), ("item_embedding", items, d[:, half:])
        for name, ids, part in sides:
            gradients[name] = np.zeros_like(self.values[name])
            np.add.at(gradients[name], ids, part)
        return gradients

    def check(self, gradients, users, items, labels, rng):
        for name, values in self.values.items():
            for _ in range(5):
                at = tuple(rng.integers(n) for n in values.shape)
                keep, h = values[at], 1e-6
                values[at] = keep + h
                up = self.loss(users, items, labels)
                values[at] = keep - h
                down = self.loss(users, items, labels)
                values[at] = keep
                assert abs((up - down) / (2 * h) - gradients[name][at]) < 1e-6, name

    def step(self, gradients, touched, rate, decay):
        self.steps += 1
        for name, g in gradients.items():
            rows = touched.get(name, np.arange(len(g)))
            g, value = g[rows], self.values[name][rows]
            first = BETA1 * self.first[name][rows] + (1 - BETA1) * g
            second = BETA2 * self.second[name][rows] + (1 - BETA2) * g * g
            size = np.abs(g[g != 0])
            noise = 1e-9 * self.epsilon / (size + self.epsilon) ** 2
            assert np.all(noise < 1e-3), "rounding decides a step: another seed"
            if not name.endswith("bias"):
                value = value * (1 - rate * decay)
            hat = first / (1 - BETA1 ** self.steps), second / (1 - BETA2 ** self.steps)
            self.values[name][rows] = value - rate * hat[0] / (np.sqrt(hat[1]) + self.epsilon)
            self.first[name][rows], self.second[name][rows] = first, second


def train(case):
    rng = np.random.default_rng(case["seed"])
    tower, losses = Tower(case), []
    count, group = case["groups"] * len(case["rates"]), 1 + case["ratio"]
    users = rng.integers(case["users"], size=count)
    items = rng.integers(case["items"], size=(count, group))
    if case["missing"]:
        items[:, 1:][rng.random((count, case["ratio"])) < 0.3] = -1
    for step, rate in enumerate(case["rates"]):
        part = slice(step * case["groups"], (step + 1) * case["groups"])
        u, i = np.repeat(users[part], group), items[part].ravel()
        y = np.tile(np.arange(group) == 0, case["groups"]).astype(float)
        u, i, y = u[i >= 0], i[i >= 0], y[i >= 0]
        losses.append(tower.loss(u, i, y))
        gradients = tower.gradients(u, i, y)
        tower.check(gradients, u, i, y, rng)
        touched = {} if case["dense"] else {"user_embedding": np.unique(u), "item_embedding": np.unique(i)}
        tower.step(gradients, touched, rate, case["decay"])
    return tower, users, items, losses


def rounded(values):
    return [float(f"{v:.9g}") for v in np.ravel(values)]


def describe(case):
    tower, users, items, losses = train(case)
    pair_users, pair_items = np.meshgrid(np.arange(min(4, case["users"])), np.arange(min(4, case["items"])))
    logits = tower.forward(pair_users.ravel(), pair_items.ravel())[0]
    assert len(np.unique(logits.round(6))) >= 0.9 * len(logits), "most of the tower is dead: another seed"
    rows = []
    for name, values in tower.values.items():
        few = len(values) if values.size < 200 else 2
        rows += [dict(matrix=name, row=row, values=rounded(values[row])) for row in range(few)]
    return dict(name=case["name"], layers="-".join(map(str, case["layers"])), users=case["users"],
                items=case["items"], ratio=case["ratio"], groups=case["groups"], rates=case["rates"],
                weight_decay=case["decay"], epsilon=case["epsilon"], dense=case["dense"],
                samples=dict(users=users.tolist(), items=items.ravel().tolist()), losses=rounded(losses),
                logits=dict(users=pair_users.ravel().tolist(), items=pair_items.ravel().tolist(),
                            values=rounded(logits)),
                rows=rows)


def main():
    text = json.dumps([describe(case) for case in CASES], separators=(",", ":"))
    sys.stdout.write(text.replace('{"name"', '\n{"name"').replace(',"samples"', ',\n"samples"')
                     .replace(',"losses"', ',\n"losses"').replace('{"matrix"', '\n{"matrix"') + "\n")


if __name__ == "__main__":
    main()
