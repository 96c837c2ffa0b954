#!/usr/bin/env python3
"""Makes ease.json: EASE and cosine weights by an independent implementation.

Usage: make_ease.py >ease.json      (needs numpy; float64, numpy's own inverse)

Follows the papers, not the code. Popularities differ between the cases' items where only some are kept, so that
"the most popular" has one meaning.
"""
import json
import sys

import numpy as np

CASES = [
    dict(name="two items", users=3, items=2, density=0.7, method="ease", regularization=0.5, dropout=0.0, kept=0),
    dict(name="small", users=30, items=13, density=0.3, method="ease", regularization=2.5, dropout=0.0, kept=0),
    dict(name="dropout", users=40, items=17, density=0.25, method="ease", regularization=1.0, dropout=0.4, kept=0),
    dict(name="the most popular alone", users=60, items=19, density=0.3, method="ease", regularization=4.0,
         dropout=0.0, kept=11),
    dict(name="more than a block", users=150, items=260, density=0.06, method="ease", regularization=3.0,
         dropout=0.0, kept=0),
    dict(name="cosine", users=40, items=23, density=0.2, method="cosine", shrinkage=1.5),
]


def interactions(case, rng):
    """Item i is less popular than item i - 1, roughly; some users and items have nothing at all."""
    chance = case["density"] * 2 * (1 - (np.arange(case["items"]) + 0.5) / case["items"])
    x = (rng.random((case["users"], case["items"])) < chance).astype(np.float64)
    if case["items"] > 2:
        x[:, 5] = 0
        x[1] = 0
    return x


def ease(case, x):
    popularity = x.sum(axis=0).astype(int)
    kept = np.arange(case["items"])
    if case["kept"]:
        kept = np.sort(np.lexsort((kept, -popularity))[:case["kept"]])
        out = np.setdiff1d(np.arange(case["items"]), kept)
        assert popularity[out].max() <= popularity[kept].min()
    gram = x[:, kept].T @ x[:, kept]
    p = case["dropout"]
    inverse = np.linalg.inv(gram + np.diag(case["regularization"] + p / (1 - p) * np.diag(gram)))
    weights = np.zeros((case["items"], case["items"]))
    weights[np.ix_(kept, kept)] = -inverse / np.diag(inverse)
    return weights


def cosine(case, x):
    gram = x.T @ x
    length = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    return gram / (length + case["shrinkage"])


def describe(case, seed):
    x = interactions(case, np.random.default_rng(seed))
    weights = ease(case, x) if case["method"] == "ease" else cosine(case, x)
    np.fill_diagonal(weights, 0)
    users, items = np.nonzero(x)
    rows = range(case["items"]) if case["items"] < 50 else [0, 100, 239, 240, 259]
    return dict(case, pair_users=users.tolist(), pair_items=items.tolist(),
                rows=[dict(item=j, weights=[float(f"{w:.9g}") for w in weights[j]]) for j in rows])


def main():
    text = json.dumps([describe(case, seed) for seed, case in enumerate(CASES)], separators=(",", ":"))
    sys.stdout.write(text.replace('},{"name"', '},\n{"name"') + "\n")


if __name__ == "__main__":
    main()
