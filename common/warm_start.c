/* See warm_start.h. */
#include "warm_start.h"

static const struct matrix *find(const struct parameters *parameters, const char *name)
{
	for (size_t m = 0; m < parameters->count; m++)
		if (strcmp(parameters->matrices[m].name, name) == 0)
			return &parameters->matrices[m];
	return NULL;
}

/* The embeddings of an mlp can begin with factors: a tower learns much faster over rows that mean something. */
static bool embeds_factors(const struct model_shape *shape, const struct model_shape *old)
{
	return shape->kind == MODEL_MLP && !model_has_tower(old);
}

/* Where matrix `m` of the model comes from. */
static const struct matrix *find_source(const struct model_file *model, const struct model_file *old, size_t m)
{
	static const enum factor_role roles[] = {[MATRIX_USERS] = FACTOR_USERS, [MATRIX_ITEMS] = FACTOR_ITEMS};
	if (!embeds_factors(&model->shape, &old->shape) || m >= COUNT_OF(roles))
		return find(&old->parameters, model->parameters.matrices[m].name);
	const int at = model_factor_matrix(&old->shape, roles[m]);
	return at == NO_MATRIX ? NULL : &old->parameters.matrices[at];
}

static int check_ids(const struct model_file *model, const struct model_file *old, const char *path, struct error *error)
{
	if (!id_space_extends(&model->ids.users, &old->ids.users) || !id_space_extends(&model->ids.items, &old->ids.items))
		return error_set(error, CODE_DATA, "%s: its ids are not those of the data, nor ones that the data's id maps "
		                 "grew from (encode-ids --update keeps them)", path);
	return 0;
}

static int check_widths(const struct model_file *model, const struct model_file *old, const char *path,
                        struct error *error)
{
	const bool embeds = embeds_factors(&model->shape, &old->shape);
	const uint32_t factors = embeds ? model->shape.user_dimension : model->shape.factors;
	char layers[256], old_layers[256];
	if (model_has_tower(&model->shape) && model_has_tower(&old->shape)) {
		model_shape_print(&model->shape, layers, sizeof layers);
		model_shape_print(&old->shape, old_layers, sizeof old_layers);
		if (strcmp(layers, old_layers) != 0)
			return error_set(error, CODE_DATA, "%s: a tower of %s, expected %s", path, old_layers, layers);
	}
	if ((embeds || (model_has_factors(&model->shape) && model_has_factors(&old->shape))) &&
	    factors != old->shape.factors)
		return error_set(error, CODE_DATA, "%s: %u factors, expected %u", path, old->shape.factors, factors);
	return 0;
}

/* Columns beyond those of the other matrix are the pair of a bias and a one: (0, 1) for users, (1, 0) for items. */
static void copy_matrix(const struct matrix *to, const struct matrix *from, bool users)
{
	const uint32_t rows = from->rows < to->rows ? from->rows : to->rows;
	const uint32_t columns = from->columns < to->columns ? from->columns : to->columns;
	for (uint32_t r = 0; r < rows; r++) {
		float *row = to->values + r * to->stride;
		memcpy(row, from->values + r * from->stride, columns * sizeof *row);
		if (to->columns == from->columns + 2) {
			row[from->columns] = users ? 0.0f : 1.0f;
			row[from->columns + 1] = users ? 1.0f : 0.0f;
		}
	}
}

int warm_start_take(struct warm_start *start, struct model_file *model, const struct model_file *old, const char *path,
                    struct error *error)
{
	size_t taken = 0;
	uint32_t users = 0;
	if (check_ids(model, old, path, error) < 0 || check_widths(model, old, path, error) < 0)
		return -1;
	for (size_t m = 0; m < model->parameters.count; m++) {
		const struct matrix *to = &model->parameters.matrices[m], *from = find_source(model, old, m);
		if (!from || (from->columns != to->columns && from->columns + 2 != to->columns &&
		              from->columns != to->columns + 2))
			continue;
		const bool of_users = model_matrix_rows(&model->shape, m) == 'u';
		copy_matrix(to, from, of_users);
		users = of_users ? old->shape.users : users; /* a history model may have none to give */
		taken++;
	}
	if (taken == 0)
		return error_set(error, CODE_DATA, "%s: a model of kind %s has nothing that a %s could begin with", path,
		                 model_kind_names[old->shape.kind], model_kind_names[model->shape.kind]);
	const struct matrix *bias = find(&old->parameters, "gmf.bias");
	start->bias += bias ? bias->values[0] : 0.0f;
	start->users = start->models && start->users < users ? start->users : users;
	start->items = start->models && start->items < old->shape.items ? start->items : old->shape.items;
	start->models++;
	start->tower = start->tower || (model_has_tower(&model->shape) && model_has_tower(&old->shape));
	start->weights = start->weights || (find(&model->parameters, "gmf.weight") && find(&old->parameters, "gmf.weight"));
	return 0;
}

static void scale(const struct matrix *matrix, double factor)
{
	for (uint32_t r = 0; r < matrix->rows; r++)
		for (uint32_t c = 0; c < matrix->columns; c++)
			matrix->values[r * matrix->stride + c] *= (float)factor;
}

int warm_start_finish(struct warm_start *start, struct model_file *model, struct error *error)
{
	const struct matrix *matrices = model->parameters.matrices;
	if (model->shape.kind != MODEL_NEUMF || start->models == 0)
		return 0;
	if (!start->tower || !start->weights)
		return error_set(error, CODE_USAGE, "a neumf begins with a neumf, or with an mlp and a gmf: --init-from twice");
	if (start->models == 1)
		return 0;
	const size_t last = model->shape.layer_count - 1;
	scale(&matrices[matrix_weight(last)], start->fusion);
	scale(&matrices[matrix_bias(last)], start->fusion);
	scale(&matrices[model_factor_matrix(&model->shape, FACTOR_WEIGHT)], 1 - start->fusion);
	matrices[matrix_bias(last)].values[0] += (float)(1 - start->fusion) * start->bias;
	return 0;
}

int warm_start_from(struct warm_start *start, struct model_file *model, const char *const *paths, size_t count,
                    struct error *error)
{
	static const char *const keys[] = {"init", "init2"};
	if (count > COUNT_OF(keys))
		return error_set(error, CODE_USAGE, "more than %zu models to start from", COUNT_OF(keys));
	for (size_t i = 0; i < count; i++) {
		struct model_file old = {0};
		int result = model_read(&old, paths[i], error);
		if (result == 0)
			result = warm_start_take(start, model, &old, paths[i], error);
		if (result == 0)
			json_object_set(model->metadata, keys[i], json_object_get(old.metadata, "digest"));
		model_file_release(&old);
		if (result < 0)
			return -1;
	}
	return warm_start_finish(start, model, error);
}

static int same_text(const char *path, const json_t *theirs, const json_t *ours, const char *key, struct error *error)
{
	const json_t *a = json_object_get(theirs, key), *b = json_object_get(ours, key);
	if (a == b || json_equal(a, b))
		return 0;
	return error_set(error, CODE_USAGE, "%s: cannot resume: \"%s\" was '%s' in the checkpoint, now it is '%s'", path, key,
	                 a ? json_string_value(a) : "", b ? json_string_value(b) : "");
}

int warm_start_resume(struct model_file *model, const char *path, struct error *error)
{
	static const char *const keys[] = {"options", "seed", "positives", "valid", "known", "init", "init2",
	                                   "item_features"};
	struct model_file saved = {0};
	int result = model_read(&saved, path, error);
	if (result == 0 && !saved.is_checkpoint)
		result = error_set(error, CODE_DATA, "%s: a model, expected a checkpoint", path);
	if (result == 0)
		result = records_same_ids(path, &saved.ids, "the training data", &model->ids, error);
	for (size_t k = 0; result == 0 && k < COUNT_OF(keys); k++)
		result = same_text(path, saved.metadata, model->metadata, keys[k], error);
	if (result < 0) {
		model_file_release(&saved);
		return -1;
	}
	model_file_release(model);
	*model = saved;
	return 0;
}
