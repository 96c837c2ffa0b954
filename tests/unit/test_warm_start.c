/* What models take over from one another: which rows, which columns, what is left to be drawn, what is refused. */
#include "warm_start.h"

#include "check.h"

/* A model of 12 columns of factors, or embeddings, whose value at (matrix, row, column) tells where it is. */
static void make(struct model_file *file, enum model_kind kind, uint32_t users, uint32_t items)
{
	struct error error = {0};
	*file = (struct model_file){0};
	CHECK_OK(model_shape_parse("24-8-1", &file->shape, &error), &error);
	file->shape.kind = kind;
	file->shape.factors = 12;
	file->shape.users = users;
	file->shape.items = items;
	CHECK_OK(parameters_init(&file->parameters, &file->shape, &error), &error);
}

static void fill(struct model_file *file)
{
	for (size_t m = 0; m < file->parameters.count; m++) {
		const struct matrix *matrix = &file->parameters.matrices[m];
		for (uint32_t r = 0; r < matrix->rows; r++)
			for (uint32_t c = 0; c < matrix->columns; c++)
				matrix->values[r * matrix->stride + c] = (float)(10000 * (m + 1) + 100 * r + c);
	}
}

static int take(struct warm_start *start, struct model_file *model, const struct model_file *old, struct error *error)
{
	*start = (struct warm_start){0};
	*error = (struct error){0};
	return warm_start_take(start, model, old, "old", error);
}

static void check_rows(const struct matrix *to, const struct matrix *from)
{
	for (uint32_t r = 0; r < from->rows; r++)
		for (uint32_t c = 0; c < 12; c++)
			CHECK(to->values[r * to->stride + c] == from->values[r * from->stride + c]);
}

static void test_embeddings_begin_with_factors(void)
{
	static const enum model_kind kinds[] = {MODEL_IALS, MODEL_MF, MODEL_GMF};
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		struct model_file mlp, old;
		struct warm_start start;
		struct error error;
		make(&mlp, MODEL_MLP, 3, 5);
		make(&old, kinds[k], 3, 5);
		fill(&old);
		CHECK_OK(take(&start, &mlp, &old, &error), &error);
		check_rows(&mlp.parameters.matrices[MATRIX_USERS], &old.parameters.matrices[0]);
		check_rows(&mlp.parameters.matrices[MATRIX_ITEMS], &old.parameters.matrices[1]);
		/* Biases of mf stay behind: beyond the columns is padding. */
		CHECK(mlp.parameters.matrices[MATRIX_USERS].values[12] == 0.0f);
		CHECK_EQUAL_U64(start.users, 3);
		CHECK_EQUAL_U64(start.items, 5);
		CHECK(!start.tower && !start.weights); /* its layers are to be drawn */
		model_file_release(&mlp);
		model_file_release(&old);
	}
}

static void test_biases_join_factors(void)
{
	struct model_file mf, ials;
	struct warm_start start;
	struct error error;
	make(&mf, MODEL_MF, 3, 5);
	make(&ials, MODEL_IALS, 3, 5);
	fill(&ials);
	CHECK_OK(take(&start, &mf, &ials, &error), &error);
	check_rows(&mf.parameters.matrices[0], &ials.parameters.matrices[0]);
	check_rows(&mf.parameters.matrices[1], &ials.parameters.matrices[1]);
	CHECK(mf.parameters.matrices[0].values[12] == 0.0f && mf.parameters.matrices[0].values[13] == 1.0f);
	CHECK(mf.parameters.matrices[1].values[12] == 1.0f && mf.parameters.matrices[1].values[13] == 0.0f);
	model_file_release(&mf);
	model_file_release(&ials);
}

static void test_users_that_nobody_has_are_drawn(void)
{
	struct model_file mf, history;
	struct warm_start start;
	struct error error;
	make(&mf, MODEL_MF, 3, 5);
	make(&history, MODEL_HISTORY, 3, 5);
	fill(&history);
	CHECK_OK(take(&start, &mf, &history, &error), &error);
	CHECK_EQUAL_U64(start.users, 0);
	CHECK_EQUAL_U64(start.items, 5);
	model_file_release(&mf);
	model_file_release(&history);
}

static void test_a_tower_takes_its_own_first(void)
{
	struct model_file mlp, neumf;
	struct warm_start start;
	struct error error;
	make(&mlp, MODEL_MLP, 3, 5);
	make(&neumf, MODEL_NEUMF, 3, 5);
	fill(&neumf);
	CHECK_OK(take(&start, &mlp, &neumf, &error), &error);
	for (size_t m = 0; m < mlp.parameters.count; m++)
		CHECK(mlp.parameters.matrices[m].values[0] == (float)(10000 * (m + 1)));
	CHECK(start.tower && !start.weights);
	model_file_release(&mlp);
	model_file_release(&neumf);
}

static void test_other_widths_are_refused(void)
{
	struct model_file mlp, ials;
	struct warm_start start;
	struct error error;
	make(&mlp, MODEL_MLP, 3, 5);
	make(&ials, MODEL_IALS, 3, 5);
	mlp.shape.user_dimension = mlp.shape.item_dimension = 16;
	CHECK(take(&start, &mlp, &ials, &error) < 0);
	CHECK_EQUAL_TEXT(error.message, "old: 12 factors, expected 16");
	CHECK_EQUAL_U64(error.code, CODE_DATA);
	model_file_release(&mlp);
	model_file_release(&ials);
}

int main(void)
{
	RUN(test_embeddings_begin_with_factors);
	RUN(test_biases_join_factors);
	RUN(test_users_that_nobody_has_are_drawn);
	RUN(test_a_tower_takes_its_own_first);
	RUN(test_other_widths_are_refused);
	return check_done();
}
