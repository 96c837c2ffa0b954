/* The counts that the bench of a device is held against: by formula, and by doing the model's loops and counting. */
#include "../bench/model_counts.h"

#include "check.h"

/* Counts, one by one, what a naive program would do that computes each half once a distinct row. */
struct plain_count {
	double matrix, other, stepped;
};

static void count_layer(struct plain_count *c, uint32_t inputs, uint32_t outputs, uint32_t times, int passes)
{
	for (int pass = 0; pass < passes; pass++)
		for (uint32_t s = 0; s < times; s++)
			for (uint32_t o = 0; o < outputs; o++)
				for (uint32_t i = 0; i < inputs; i++)
					*(inputs < 8 || outputs < 8 ? &c->other : &c->matrix) += 2; /* one multiply, one add */
}

static void count_towers(struct plain_count *c, const struct model_shape *s, uint32_t samples, uint32_t users,
                         uint32_t items, int passes)
{
	count_layer(c, s->user_dimension, s->widths[0], users, passes);
	count_layer(c, s->item_dimension, s->widths[0], items, passes);
	for (uint32_t l = 1; l < s->layer_count; l++)
		count_layer(c, s->widths[l - 1], s->widths[l], samples, passes);
}

static void check_shape(const char *layers, enum model_kind kind, uint32_t factors)
{
	struct model_shape shape = {0};
	struct parameters parameters;
	struct error error = {0};
	const struct batch_counts batch = {.samples = 35, .groups = 7, .users = 5, .items = 9};
	struct plain_count c = {0};
	double numbers = 0;
	if (layers)
		CHECK_OK(model_shape_parse(layers, &shape, &error), &error);
	shape.kind = kind;
	shape.factors = factors;
	shape.users = 6;
	shape.items = 11;
	const uint32_t columns = model_has_factors(&shape) ? model_factor_columns(&shape) : 0;
	const bool weighted = kind == MODEL_GMF || kind == MODEL_NEUMF;
	if (layers)
		count_towers(&c, &shape, 35, 5, 9, 3);
	count_layer(&c, 1, columns, 35, 3);                 /* the dot product, and back to both rows */
	count_layer(&c, 1, columns, weighted ? 5 : 0, 2);   /* h x, h dx: a multiply alone each; dh += x dx */
	/* Numbers that a step reaches: of the parameters' own matrices, those of rows for each distinct row. */
	CHECK_OK(parameters_init(&parameters, &shape, &error), &error);
	for (size_t m = 0; m < parameters.count; m++) {
		const char rows = model_matrix_rows(&shape, m);
		const struct matrix *matrix = &parameters.matrices[m];
		numbers += (rows == 'u' ? 5.0 : rows == 'i' ? 9.0 : matrix->rows) * matrix->columns;
	}
	const struct model_counts got = count_training(&shape, &batch);
	CHECK_CLOSE(got.matrix, c.matrix, 1e-6);
	CHECK_CLOSE(got.plain, c.other + 12 * numbers, 1e-6);
	CHECK_CLOSE(got.bytes, numbers * 4 * 6 + 35 * 4 + 7 * 4, 1e-6);
	parameters_release(&parameters);
}

static void test_training_is_counted(void)
{
	check_shape("128-64-32-16-8-4-1", MODEL_MLP, 0);
	check_shape("20-7-3-1", MODEL_MLP, 0);
	check_shape("32-24-8-1", MODEL_NEUMF, 16);
	check_shape(NULL, MODEL_MF, 13);
	check_shape(NULL, MODEL_GMF, 9);
}

static void test_ranking_is_counted(void)
{
	struct model_shape shape = {0};
	struct error error = {0};
	struct plain_count c = {0};
	CHECK_OK(model_shape_parse("32-24-8-1", &shape, &error), &error);
	shape.kind = MODEL_NEUMF;
	shape.factors = 16;
	shape.users = 6;
	shape.items = 11;
	count_towers(&c, &shape, 6 * 11, 6, 11, 1);
	count_layer(&c, 1, 16, 6 * 11, 1);
	const struct model_counts got = count_ranking(&shape, 6, 10);
	CHECK_CLOSE(got.matrix, c.matrix, 1e-6);
	CHECK_CLOSE(got.plain, c.other, 1e-6);
	CHECK_CLOSE(got.bytes, 4 * (6 * (16 + 16) + 11 * (16 + 16)) + 6 * 10 * 8, 1e-6);
}

/* The figures that the docs give for the seed tower. */
static void test_the_seed_tower(void)
{
	struct model_shape shape = {0};
	struct error error = {0};
	const struct batch_counts all_apart = {.samples = 1, .groups = 1, .users = 1, .items = 1};
	CHECK_OK(model_shape_parse("128-64-32-16-8-4-1", &shape, &error), &error);
	const struct model_counts one = count_training(&shape, &all_apart);
	/* 6 * (64*32 + 32*16 + 16*8), 6 * 64 * 128; 6 * (8*4 + 4), 12 a stepped number. */
	CHECK_CLOSE(one.matrix, 16128.0 + 49152.0, 1e-9);
	CHECK_CLOSE(one.plain, 216.0 + 12 * (128.0 + 8256 + 2080 + 528 + 136 + 36 + 5), 1e-9);
}

int main(void)
{
	RUN(test_training_is_counted);
	RUN(test_ranking_is_counted);
	RUN(test_the_seed_tower);
	return check_done();
}
