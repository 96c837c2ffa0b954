#!/usr/bin/env python3
"""Makes ials.json: what alternating least squares must give, by an independent implementation.

Usage: make_ials.py >ials.json      (needs numpy; everything in float64, dense matrices)

Follows the definition (Rendle et al. 2022): each half minimises the objective exactly by the normal equations
of the dense weighted problem, with weight 1 + unobserved on observed cells. After each half the objective's
gradient, taken from its definition, is checked to vanish.
"""
import json
import sys

import numpy as np

CASES = [
    dict(name="small", users=12, items=9, factors=5, regularization=0.05, unobserved=0.1, scaling=1.0,
         density=0.4, sweeps=3, seed=1),
    dict(name="short and long rows", users=60, items=45, factors=35, regularization=0.02, unobserved=0.3,
         scaling=0.5, density=0.5, sweeps=2, seed=2),
    dict(name="more interactions than a chunk", users=150, items=20, factors=16, regularization=0.1,
         unobserved=0.05, scaling=1.0, density=0.9, sweeps=2, seed=3),
    dict(name="one factor, no scaling", users=8, items=6, factors=1, regularization=0.1, unobserved=0.2,
         scaling=0.0, density=0.5, sweeps=4, seed=4),
]


def first_values(rows, factors):
    """The starting point, by a formula that the test repeats: float32 values of a scrambled counter."""
    k = np.arange(rows * factors, dtype=np.int64)
    scrambled = (5 * k * k + 17 * k + 5) % 1013
    return (scrambled / 1013.0 - 0.5).astype(np.float32).astype(np.float64).reshape(rows, factors)


def penalties(case, seen, axis):
    counts = seen.sum(axis=axis)
    return case["regularization"] * (counts + case["unobserved"] * seen.shape[axis]) ** case["scaling"]


def objective(case, seen, x, y):
    scores = x @ y.T
    return (np.sum(seen * (scores - 1) ** 2) + case["unobserved"] * np.sum(scores ** 2) +
            np.sum(penalties(case, seen, 1) * np.sum(x ** 2, axis=1)) +
            np.sum(penalties(case, seen, 0) * np.sum(y ** 2, axis=1)))


def solve(case, seen, fixed):
    """Rows of `seen` with the other side fixed."""
    solved = np.zeros((len(seen), fixed.shape[1]))
    for row, c in enumerate(penalties(case, seen, 1)):
        weights = seen[row] + case["unobserved"]
        matrix = fixed.T @ (weights[:, None] * fixed) + c * np.eye(fixed.shape[1])
        solved[row] = np.linalg.solve(matrix, fixed.T @ seen[row])
    scores = solved @ fixed.T
    gradient = (2 * (seen * (scores - 1) + case["unobserved"] * scores) @ fixed +
                2 * penalties(case, seen, 1)[:, None] * solved)
    assert np.abs(gradient).max() < 1e-10
    return solved


def run(case):
    rng = np.random.default_rng(case["seed"])
    chance = case["density"] * 2 * rng.random(case["users"])[:, None]
    seen = (rng.random((case["users"], case["items"])) < chance).astype(float)
    seen[1] = 0          # a user without interactions
    seen[:, 2] = 0       # an item without
    y = first_values(case["items"], case["factors"])
    objectives = []
    for _ in range(case["sweeps"]):
        x = solve(case, seen, y)
        y = solve(case, seen.T, x)
        objectives.append(objective(case, seen, x, y))
    assert all(a > b for a, b in zip(objectives, objectives[1:]))
    new = (rng.random((3, case["items"])) < 0.4).astype(float)
    folded = solve(case, new, y)
    rows = (0, 1, 3, case["users"] - 1), (0, 2, 4, case["items"] - 1)
    rounded = lambda m: np.round(m, 8).tolist()
    lists = lambda m: [np.flatnonzero(row).tolist() for row in m]
    return dict({k: case[k] for k in ("name", "users", "items", "factors", "regularization", "unobserved",
                                      "scaling", "sweeps")},
                seen=lists(seen), objectives=objectives,
                user_rows=[dict(row=r, values=rounded(x[r])) for r in rows[0]],
                item_rows=[dict(row=r, values=rounded(y[r])) for r in rows[1]],
                new_users=lists(new), folded=rounded(folded))


def main():
    cases = ",\n".join(json.dumps(run(case), separators=(",", ":")) for case in CASES)
    sys.stdout.write("[" + cases + "]\n")


main()
