/* See ials_model.h. */
#include "ials_model.h"

#include "mem.h"

int ials_note_settings(json_t *metadata, const struct ials_options *options, struct error *error)
{
	json_t *settings = json_pack("{s:f, s:f, s:f}", "regularization", options->regularization, "unobserved",
	                             options->unobserved, "scaling", options->scaling);
	char *text = settings ? json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
	int result = text && json_object_set_new(metadata, "ials", json_string(text)) == 0
	                 ? 0 : error_set(error, CODE_SYSTEM, "out of memory for metadata");
	free(text);
	json_decref(settings);
	return result;
}

static int read_settings(const struct model_file *model, struct ials_options *options, struct error *error)
{
	const json_t *text = json_object_get(model->metadata, "ials");
	json_t *settings = json_is_string(text) ? json_loads(json_string_value(text), 0, NULL) : NULL;
	const char *const keys[] = {"regularization", "unobserved", "scaling"};
	double *const values[] = {&options->regularization, &options->unobserved, &options->scaling};
	int result = 0;
	for (size_t i = 0; i < COUNT_OF(keys) && result == 0; i++) {
		const json_t *value = json_object_get(settings, keys[i]);
		*values[i] = json_number_value(value);
		if (!json_is_number(value))
			result = error_set(error, CODE_DATA, "the ials model does not tell its \"%s\": it cannot fit users to it",
			                   keys[i]);
	}
	json_decref(settings);
	return result;
}

static bool is_stranger(const struct matrix *users, uint32_t user)
{
	const float *row = users->values + user * users->stride;
	if (user >= users->rows)
		return true;
	for (uint32_t k = 0; k < users->columns; k++)
		if (row[k] != 0.0f)
			return false;
	return true;
}

/* The model with room for `count` users, those it had in their places. */
static int grow_users(struct model_file *model, uint32_t count, struct error *error)
{
	struct model_shape shape = model->shape;
	struct parameters grown;
	if (count <= shape.users)
		return 0;
	shape.users = count;
	if (parameters_init(&grown, &shape, error) < 0)
		return -1;
	for (size_t m = 0; m < grown.count; m++) {
		const struct matrix *from = &model->parameters.matrices[m];
		memcpy(grown.matrices[m].values, from->values, (size_t)from->rows * from->stride * sizeof(float));
	}
	parameters_release(&model->parameters);
	model->parameters = grown;
	model->shape = shape;
	return 0;
}

int ials_serve_strangers(struct model_file *model, const struct interactions *history, const struct ials_options *how,
                         struct error *error)
{
	const int users_at = model_factor_matrix(&model->shape, FACTOR_USERS);
	const int items_at = model_factor_matrix(&model->shape, FACTOR_ITEMS);
	const uint32_t trained = model->shape.users;
	struct ials_options options = *how;
	options.factors = model->shape.factors;
	if (read_settings(model, &options, error) < 0)
		return -1;
	float *rows = mem_alloc_zero((size_t)history->users * ials_stride(options.factors), sizeof *rows, error);
	if (!rows)
		return -1;
	int result = ials_fold_in(model->parameters.matrices[items_at].values, model->shape.items, &options, history, rows,
	                          error);
	if (result == 0)
		result = grow_users(model, history->users, error);
	for (uint32_t user = 0; result == 0 && user < history->users; user++) {
		const struct matrix *users = &model->parameters.matrices[users_at];
		if (user >= trained || is_stranger(users, user))
			memcpy(users->values + user * users->stride, rows + user * users->stride, users->stride * sizeof *rows);
	}
	mem_free(rows);
	return result;
}
