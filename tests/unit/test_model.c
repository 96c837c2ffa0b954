/* Shapes of models and their first values (their files: test_model_file.c). */
#include "model.h"

#include "check.h"
#include "mem.h"

static struct model_shape shape_of(const char *layers, uint32_t users, uint32_t items)
{
	struct error error = {0};
	struct model_shape shape;
	CHECK_OK(model_shape_parse(layers, &shape, &error), &error);
	shape.users = users;
	shape.items = items;
	return shape;
}

/* ---- shapes ---- */

static void test_shapes(void)
{
	char text[64];
	struct model_shape shape = shape_of("128-64-32-16-8-4-1", 3, 5);
	CHECK_EQUAL_U64(shape.user_dimension, 64);
	CHECK_EQUAL_U64(shape.item_dimension, 64);
	CHECK_EQUAL_U64(shape.layer_count, 6);
	CHECK_EQUAL_U64(shape.widths[0], 64);
	CHECK_EQUAL_U64(shape.widths[5], 1);
	model_shape_print(&shape, text, sizeof text);
	CHECK_EQUAL_TEXT(text, "128-64-32-16-8-4-1");
}

static void test_wrong_shapes_are_refused(void)
{
	static const char *const wrong[] = {
		"", "1", "2", "2-1", "128", "127-4-1", "128-64-2", "128--1", "128-64-1-", "-128-64-1", "128-0-1", "a-b-1",
		"128-64-1 ", "128 64 1", "99999999999999999999-4-1", "8192-4-1",
		"4-4-4-4-4-4-4-4-4-4-4-4-4-4-4-4-4-1",
	};
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct error error = {0};
		struct model_shape shape;
		if (model_shape_parse(wrong[i], &shape, &error) == 0)
			printf("# accepted: %s\n", wrong[i]);
		CHECK(error.code == CODE_USAGE && strstr(error.message, "--layers"));
	}
}

static void test_layout(void)
{
	struct error error = {0};
	struct parameters p;
	struct model_shape shape = shape_of("20-7-1", 3, 5);
	CHECK_OK(parameters_init(&p, &shape, &error), &error);
	static const struct { const char *name; uint32_t rows, columns; } expected[] = {
		{"user_embedding", 3, 10}, {"item_embedding", 5, 10}, {"mlp.0.weight", 7, 20}, {"mlp.0.bias", 1, 7},
		{"mlp.1.weight", 1, 7}, {"mlp.1.bias", 1, 1},
	};
	CHECK_EQUAL_U64(p.count, COUNT_OF(expected));
	for (size_t m = 0; m < COUNT_OF(expected); m++) {
		CHECK_EQUAL_TEXT(p.matrices[m].name, expected[m].name);
		CHECK_EQUAL_U64(p.matrices[m].rows, expected[m].rows);
		CHECK_EQUAL_U64(p.matrices[m].columns, expected[m].columns);
		CHECK(p.matrices[m].stride % MODEL_LANES == 0 && p.matrices[m].stride >= p.matrices[m].columns);
		CHECK((uintptr_t)p.matrices[m].values % MEM_ALIGNMENT == 0);
	}
	CHECK(p.matrices[matrix_weight(1)].values == p.matrices[4].values);
	CHECK(p.matrices[matrix_bias(1)].values == p.matrices[5].values);
	CHECK(parameters_finite(&p));
	p.matrices[1].values[2] = INFINITY;
	CHECK(!parameters_finite(&p));
	p.matrices[1].values[2] = NAN;
	CHECK(!parameters_finite(&p));
	parameters_release(&p);
}

/* ---- first values ---- */

static void draw(struct parameters *p, const struct model_shape *shape, uint64_t seed, uint32_t attempt)
{
	struct error error = {0};
	CHECK_OK(parameters_init(p, shape, &error), &error);
	model_init_values(shape, p, seed, attempt, 4, 0, 0, false);
}

static bool same_row(const struct parameters *a, const struct parameters *b, size_t matrix, uint32_t row)
{
	const struct matrix *x = &a->matrices[matrix], *y = &b->matrices[matrix];
	return memcmp(x->values + row * x->stride, y->values + row * y->stride, x->columns * sizeof(float)) == 0;
}

static void test_rows_do_not_depend_on_their_number(void)
{
	struct parameters small, large, other, again;
	struct model_shape few = shape_of("20-7-3-1", 3, 5), many = shape_of("20-7-3-1", 30, 50);
	draw(&small, &few, 9, 0);
	draw(&large, &many, 9, 0);
	draw(&other, &few, 10, 0);
	draw(&again, &few, 9, 1);
	for (size_t m = 0; m < small.count; m++)
		for (uint32_t r = 0; r < small.matrices[m].rows; r++) {
			const bool weights = m < MATRIX_LAYERS || (m - MATRIX_LAYERS) % 2 == 0;
			CHECK(same_row(&small, &large, m, r));
			CHECK(!weights || !same_row(&small, &other, m, r));
			CHECK(!weights || !same_row(&small, &again, m, r));
		}
	CHECK(memcmp(small.matrices[MATRIX_USERS].values, small.matrices[MATRIX_ITEMS].values, 10 * sizeof(float)) != 0);
	for (size_t m = 0; m < small.count; m++)
		for (uint32_t r = 0; r < small.matrices[m].rows; r++)
			for (size_t c = small.matrices[m].columns; c < small.matrices[m].stride; c++)
				CHECK(small.matrices[m].values[r * small.matrices[m].stride + c] == 0.0f);
	parameters_release(&small);
	parameters_release(&large);
	parameters_release(&other);
	parameters_release(&again);
}

static void test_warm_start_leaves_what_it_keeps(void)
{
	struct error error = {0};
	struct parameters p, fresh;
	struct model_shape shape = shape_of("20-7-3-1", 6, 8);
	draw(&fresh, &shape, 9, 0);
	CHECK_OK(parameters_init(&p, &shape, &error), &error);
	for (size_t i = 0; i < p.size; i++)
		p.block[i] = 7.0f;
	model_init_values(&shape, &p, 9, 0, 4, 2, 5, true);
	for (uint32_t r = 0; r < 6; r++)
		CHECK(same_row(&p, &fresh, MATRIX_USERS, r) == (r >= 2));
	for (uint32_t r = 0; r < 8; r++)
		CHECK(same_row(&p, &fresh, MATRIX_ITEMS, r) == (r >= 5));
	CHECK(p.matrices[MATRIX_USERS].values[p.matrices[MATRIX_USERS].stride] == 7.0f);
	for (size_t m = MATRIX_LAYERS; m < p.count; m++)
		CHECK(p.matrices[m].values[0] == 7.0f);
	parameters_release(&p);
	parameters_release(&fresh);
}

/* What each hidden unit gets from embeddings of 0, the mean of what they begin with: above 0, or it may
 * never learn. The last unit answers near the log odds of a positive. */
static void test_every_unit_starts_alive(void)
{
	struct model_shape shape = shape_of("128-64-32-16-8-4-1", 1, 1);
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct parameters p;
		double a[128] = {0}, z[128];
		draw(&p, &shape, seed, (uint32_t)seed % 3);
		for (size_t l = 0; l < shape.layer_count; l++) {
			const struct matrix *w = &p.matrices[matrix_weight(l)], *b = &p.matrices[matrix_bias(l)];
			for (uint32_t o = 0; o < w->rows; o++) {
				z[o] = (double)b->values[o];
				for (uint32_t c = 0; c < w->columns; c++)
					z[o] += (double)w->values[o * w->stride + c] * a[c];
				CHECK(l + 1 == shape.layer_count || z[o] > 0);
			}
			memcpy(a, z, w->rows * sizeof *a);
		}
		CHECK_CLOSE((double)p.matrices[matrix_bias(shape.layer_count - 1)].values[0], -log(4.0), 1e-6);
		parameters_release(&p);
	}
}

static void test_no_negatives_no_prior(void)
{
	struct error error = {0};
	struct parameters p;
	struct model_shape shape = shape_of("4-2-1", 1, 1);
	CHECK_OK(parameters_init(&p, &shape, &error), &error);
	model_init_values(&shape, &p, 1, 0, 0, 0, 0, false);
	CHECK(p.matrices[matrix_bias(1)].values[0] == 0.0f && parameters_finite(&p));
	parameters_release(&p);
}

int main(void)
{
	RUN(test_shapes);
	RUN(test_wrong_shapes_are_refused);
	RUN(test_layout);
	RUN(test_rows_do_not_depend_on_their_number);
	RUN(test_warm_start_leaves_what_it_keeps);
	RUN(test_every_unit_starts_alive);
	RUN(test_no_negatives_no_prior);
	return check_done();
}
