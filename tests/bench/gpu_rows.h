/* What the bench of a device measures: sizes, models, batches; each with every precision and way of the tower. */
#ifndef RECPIPE_BENCH_GPU_ROWS_H
#define RECPIPE_BENCH_GPU_ROWS_H

#include "model.h"

/* Shapes of MovieLens 1M and 20M. */
struct size {
	const char *name;
	uint32_t users, items;
	uint64_t positives;
};

enum { ML1M, ML20M, SIZES };

static const struct size sizes[SIZES] = {
	{"ml1m", 6040, 3706, 1000209},
	{"ml20m", 138493, 26744, 20000263},
};

struct row {
	const char *name;     /* "" is the model and batch that a size is known by */
	int size;
	enum model_kind kind;
	const char *layers;
	uint32_t factors, batch; /* batch 0: ranks for everybody */
};

/* The large one is NVIDIA's NeuMF: 64 factors, embeddings of 128, layers of 256, 128, 64 units. */
static const char seed_tower[] = "128-64-32-16-8-4-1", large_tower[] = "256-256-128-64-1";

static const struct row rows[] = {
	{"b1k", ML1M, MODEL_MLP, seed_tower, 0, 1 << 10},
	{"b4k", ML1M, MODEL_MLP, seed_tower, 0, 1 << 12},
	{"b16k", ML1M, MODEL_MLP, seed_tower, 0, 1 << 14},
	{"b64k", ML1M, MODEL_MLP, seed_tower, 0, 1 << 16},
	{"b256k", ML1M, MODEL_MLP, seed_tower, 0, 1 << 18},
	{"b1m", ML1M, MODEL_MLP, seed_tower, 0, 1 << 20},
	{"", ML1M, MODEL_MLP, seed_tower, 0, 0},
	{"b1k", ML20M, MODEL_MLP, seed_tower, 0, 1 << 10},
	{"b4k", ML20M, MODEL_MLP, seed_tower, 0, 1 << 12},
	{"b16k", ML20M, MODEL_MLP, seed_tower, 0, 1 << 14},
	{"b64k", ML20M, MODEL_MLP, seed_tower, 0, 1 << 16},
	{"b256k", ML20M, MODEL_MLP, seed_tower, 0, 1 << 18},
	{"", ML20M, MODEL_MLP, seed_tower, 0, 1 << 20},
	{"mf", ML20M, MODEL_MF, NULL, 64, 1 << 20},
	{"neumf", ML20M, MODEL_NEUMF, large_tower, 64, 1 << 20},
	{"", ML20M, MODEL_MLP, seed_tower, 0, 0},
	{"neumf", ML20M, MODEL_NEUMF, large_tower, 64, 0},
};

/* Kinds of arithmetic, by the names of precision_names; ways through the tower, by RECPIPE_CUDA_TOWER. */
static const char *const precisions[] = {"fp32", "tf32", "bf16"};
static const char *const ways[] = {"fused", "plain"};

/* "gpu.train.ml20m.b16k.tf32.plain.samples_per_s": what is not the default stands in the name. */
static inline void row_name(const struct row *row, const char *precision, const char *way, char *name, size_t size)
{
	snprintf(name, size, "gpu.%s.%s%s%s%s%s%s.%s", row->batch > 0 ? "train" : "score", sizes[row->size].name,
	         row->name[0] ? "." : "", row->name, strcmp(precision, "fp32") == 0 ? "" : ".",
	         strcmp(precision, "fp32") == 0 ? "" : precision, strcmp(way, "fused") == 0 ? "" : ".plain",
	         row->batch > 0 ? "samples_per_s" : "pairs_per_s");
}

#endif
