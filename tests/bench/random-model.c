/* random-model: a model of any size whose weights are random, for measuring how fast it scores. */
#include "model.h"
#include "options.h"

struct options {
	const char *out, *layers;
	int64_t users, items;
};

static const struct options defaults = {.layers = "128-64-32-16-8-4-1", .users = 6040, .items = 3706};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the model goes; required.", 0, 0, NULL},
	{'l', "layers", OPTION_TEXT, AT(layers), "WIDTHS", "Widths of the tower.", 0, 0, NULL},
	{'u', "users", OPTION_INT, AT(users), "N", "Users.", 1, 1e9, NULL},
	{'i', "items", OPTION_INT, AT(items), "N", "Items.", 1, 1e9, NULL},
};

static const struct tool_spec tool = {
	.name = "random-model",
	.summary = "a model with random weights",
	.operands = "",
	.description = "Writes a model as train-mlp begins with it: a tower over random embeddings.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
};

static int make_model(const struct options *options, struct model_file *model, struct error *error)
{
	if (!options->out)
		return error_set(error, CODE_USAGE, "--out is required");
	if (model_shape_parse(options->layers, &model->shape, error) < 0)
		return -1;
	model->shape.users = (uint32_t)options->users;
	model->shape.items = (uint32_t)options->items;
	model->ids.users.count = model->shape.users;
	model->ids.items.count = model->shape.items;
	if (parameters_init(&model->parameters, &model->shape, error) < 0)
		return -1;
	model_init_values(&model->shape, &model->parameters, 1, 0, 4, 0, 0, false);
	return model_write(model, options->out, error);
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct model_file model = {0};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	int result = make_model(&options, &model, &error);
	model_file_release(&model);
	return result == 0 ? CODE_OK : error_report(&error);
}
