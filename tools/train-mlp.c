/* train-mlp: samples or interactions in, a model out. */
#include <unistd.h>

#include "feature_table.h"
#include "ials_model.h"
#include "options.h"
#include "recipe.h"
#include "trainer.h"
#include "warm_start.h"

struct options {
	const char *layers, *valid, *checkpoint, *log, *out, *isa, *device, *movies, *genres, *items;
	struct text_list known, init_from;
	int64_t factors, epochs, batch, ratio, seed, threads, patience, candidates, checkpoint_batches, restarts;
	double fusion, regularization, unobserved, scaling, rate, warmup, average, alpha, weight_decay, dropout, beta1, beta2, epsilon, checkpoint_minutes;
	int schedule, adam, model, loss, precision;
	bool resume, quiet, user_part;
};

static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
static const char *const adams[] = {"sparse", "dense", NULL};
static const char *const losses[] = {"bce", "bpr", "sampled-softmax", "softmax", "squares", NULL};
static const struct options defaults = { /* the mlp's, as in recipe.c */
	.layers = "128-64-32-16-8-4-1", .factors = 64, .epochs = 20, .ratio = 4, .seed = 1, .patience = 5,
	.candidates = 99, .restarts = 5, .average = 0.8, .weight_decay = 0.1,
	.dropout = 0.1, .fusion = 0.5, .regularization = 0.009, .unobserved = 0.15, .scaling = 1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .isa = "auto", .device = "auto",
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the model goes (safetensors); required.", 0, 0, NULL},
	{'v', "valid", OPTION_TEXT, AT(valid), "FILE",
	 "Held-out interactions that pick the best epoch: HR@10 and NDCG@10 after each epoch, the best one kept.", 0, 0,
	 NULL},
	{'k', "known", OPTION_LIST, AT(known), "FILE",
	 "Further interactions to keep out of the validation candidates beside the training ones; may be repeated.", 0,
	 0, NULL},
	{'m', "model", OPTION_CHOICE, AT(model), NULL, "What to train.", 0, 0, model_kind_names},
	{'f', "factors", OPTION_INT, AT(factors), "N", "Dimension of the dot product's factors.", 1, 1000, NULL},
	{0, "user-part", OPTION_FLAG, AT(user_part), NULL,
	 "history: users have factors of their own beside those of their history.", 0, 0, NULL},
	{0, "movies", OPTION_TEXT, AT(movies), "FILE",
	 "history: titles and genres (movies.csv or u.item): genres and decades become a part of the items' factors, so "
	 "that an item without interactions can be ranked.", 0, 0, NULL},
	{0, "genres", OPTION_TEXT, AT(genres), "FILE", "Names of the genres of a u.item (u.genre).", 0, 0, NULL},
	{0, "items", OPTION_TEXT, AT(items), "FILE", "With --movies: the items' id map.", 0, 0, NULL},
	{0, "loss", OPTION_CHOICE, AT(loss), NULL,
	 "bce: cross-entropy of each sample by itself; bpr: the positive against each of its negatives; sampled-softmax: "
	 "against all of them at once, corrected by log of how often they are drawn; softmax (mf, history): all items of "
	 "a user at once against the whole catalogue, no negatives drawn, --batch counts users; squares: ials, an epoch is "
	 "a sweep over users and items.", 0, 0, losses},
	{0, "regularization", OPTION_REAL, AT(regularization), "X", "ials: of each row, for every interaction it has.", 0,
	 1e6, NULL},
	{0, "unobserved", OPTION_REAL, AT(unobserved), "X", "ials: the weight of every pair, seen or not.", 0, 1e6, NULL},
	{0, "scaling", OPTION_REAL, AT(scaling), "X",
	 "ials: how the regularization grows with a row's interactions; 1 in proportion, 0 not at all.", 0, 2, NULL},
	{'l', "layers", OPTION_TEXT, AT(layers), "WIDTHS",
	 "Widths of the tower: the two embeddings together, the hidden layers, 1.", 0, 0, NULL},
	{'e', "epochs", OPTION_INT, AT(epochs), "N", "Passes over the positives.", 1, 100000, NULL},
	{'b', "batch", OPTION_INT, AT(batch), "N",
	 "Samples in a batch, negatives counted; a positive and its negatives stay together. Users with --loss softmax. "
	 "0: by the data, from 640 doubled up to 40960 while an epoch has at least 400 batches.", 0, 16e6, NULL},
	{0, "lr", OPTION_REAL, AT(rate), "X",
	 "Learning rate of Adam. 0: 0.001, times the square root of how often 640 goes into a larger batch.", 0, 10, NULL},
	{0, "schedule", OPTION_CHOICE, AT(schedule), NULL,
	 "How the rate goes: constant, or falling to 0 at the last batch.", 0, 0, schedules},
	{0, "warmup", OPTION_REAL, AT(warmup), "EPOCHS", "Epochs over which the rate rises from 0 at the start.", 0,
	 100000, NULL},
	{0, "average", OPTION_REAL, AT(average), "X",
	 "The model is the mean of all epochs' ends, each weighing X times as much as the next, and validation judges "
	 "that; 0: the last end alone.", 0, 0.999, NULL},
	{'r', "ratio", OPTION_INT, AT(ratio), "N", "Negatives a positive, drawn anew every epoch.", 0, 1024, NULL},
	{'a', "alpha", OPTION_REAL, AT(alpha), "X", "Negatives by popularity^X; 0 is uniform.", -4, 4, NULL},
	{0, "weight-decay", OPTION_REAL, AT(weight_decay), "X",
	 "Decoupled weight decay (AdamW), on embedding rows when they are touched and on the tower's weights.", 0, 1000,
	 NULL},
	{0, "dropout", OPTION_REAL, AT(dropout), "P",
	 "Share of hidden activations dropped in training; history: of a history's items left out to be found again.", 0,
	 0.95, NULL},
	{0, "adam", OPTION_CHOICE, AT(adam), NULL,
	 "sparse steps the embedding rows that a batch touches, as PyTorch's SparseAdam; dense steps every row, as its "
	 "Adam.", 0, 0, adams},
	{0, "beta1", OPTION_REAL, AT(beta1), "X", "Decay of Adam's first moment.", 0, 0.999999, NULL},
	{0, "beta2", OPTION_REAL, AT(beta2), "X", "Decay of Adam's second moment.", 0, 0.99999999, NULL},
	{0, "epsilon", OPTION_REAL, AT(epsilon), "X", "Adam's epsilon.", 1e-20, 1, NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of everything random.", 0, 9e18, NULL},
	{'p', "patience", OPTION_INT, AT(patience), "N",
	 "With --valid: stop after N epochs without a better NDCG@10; 0 never stops early.", 0, 100000, NULL},
	{0, "candidates", OPTION_INT, AT(candidates), "N", "Unseen candidates a user in the validation.", 1, 10000, NULL},
	{0, "restarts", OPTION_INT, AT(restarts), "N",
	 "How often a dead tower (every logit equal) begins anew before that is an error.", 0, 100, NULL},
	{'c', "checkpoint", OPTION_TEXT, AT(checkpoint), "FILE",
	 "Write the state of training here after each epoch. It is kept when training is done.", 0, 0, NULL},
	{0, "checkpoint-minutes", OPTION_REAL, AT(checkpoint_minutes), "X",
	 "Write --checkpoint every X minutes as well; 0: only after epochs.", 0, 1e6, NULL},
	{0, "checkpoint-batches", OPTION_INT, AT(checkpoint_batches), "N",
	 "Write --checkpoint every N batches as well; 0: only after epochs.", 0, 1e15, NULL},
	{0, "resume", OPTION_FLAG, AT(resume), NULL,
	 "Go on from --checkpoint when it exists: on the same kind and number of devices the model's bytes are those of an "
	 "uninterrupted run. --device auto stays on the CPU when it began there.", 0, 0, NULL},
	{'i', "init-from", OPTION_LIST, AT(init_from), "MODEL",
	 "Start from this model (warm start); users and items added since get fresh rows. mf and history can start from "
	 "ials, the embeddings of an mlp from factors (ials, mf, gmf), neumf from an mlp and a gmf (twice).", 0, 0, NULL},
	{0, "fusion", OPTION_REAL, AT(fusion), "X",
	 "neumf out of an mlp and a gmf: it begins as X of the one and 1 - X of the other.", 0, 1, NULL},
	{0, "log", OPTION_TEXT, AT(log), "FILE", "A TSV row for each epoch.", 0, 0, NULL},
	{0, "precision", OPTION_CHOICE, AT(precision), NULL,
	 "Of the tower's products: fp32, or bf16, which rounds their operands (weights and sums stay fp32): faster where "
	 "the processor has AMX, slower elsewhere, the same bytes on all of them. With --device cuda also tf32; wide "
	 "layers go by tensor cores there, with other bytes than the CPU's.", 0, 0, precision_names},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads; 0: one a processor. Never changes a byte.", 0, 1024,
	 NULL},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME",
	 "Instruction set: auto, avx512, avx2 or portable. Never changes a byte.", 0, 0, NULL},
	{0, "device", OPTION_TEXT, AT(device), "NAME",
	 "auto (cuda:0 where there is one that can train this, unless --isa is given; else the CPU), cpu, cuda, cuda:N, or "
	 "several that work together: cuda:0,1 or cuda:0-3. The two kinds train to other bytes: cpu has the same on every "
	 "machine. RECPIPE_DEVICE is what auto means.", 0, 0, NULL},
	{'q', "quiet", OPTION_FLAG, AT(quiet), NULL, "Only errors on stderr.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "train-mlp",
	.summary = "train a recommender",
	.operands = "INPUT",
	.description =
		"Trains one of several models with Adam and writes it as safetensors: mlp, user and item embeddings and a "
		"ReLU tower over them (He et al. 2017); gmf, a weighted product of factors, and neumf, the sum of both; mf, a "
		"biased dot product; history, a dot product whose user is the mean of the items in the user's history, which "
		"serves users it was never trained on; ials, a dot product by weighted alternating least squares.\n\n"
		"Defaults are the mlp's; other models come with their own loss, factors, epochs, batch, rate, decay, dropout "
		"and average (recdump shows what a model was trained with).\n\n"
		"INPUT is a stream of interactions, from which negatives are drawn here, or a stream of samples "
		"from sample-neg (- is stdin): both give the same bytes. With samples, the ratio, epochs, seed "
		"and alpha are theirs. Losses over the whole catalogue need interactions.\n\n"
		"A loss or weight that is not finite ends training with an error, the last checkpoint kept. A "
		"tower that has died is detected after each epoch and begun anew.",
	.examples =
		"train-mlp --valid valid.rec -o model.safetensors train.rec\n"
		"  The default recipe, the best epoch kept.\n"
		"sample-neg --ratio 4 --epochs 20 train.rec | train-mlp --valid valid.rec -o model.safetensors -\n"
		"  The same through a pipe.\n"
		"train-mlp --model history --valid valid.rec -o history.safetensors train.rec\n"
		"  A model that can score users it has never seen, by their history: score --history.",
	.see_also = "sample-neg(1), score(1), recdump(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.minimum_operands = 1,
	.maximum_operands = 1,
};

/* What the run holds open. */
struct run {
	struct options *options;
	const struct operands *operands;
	struct stream_reader samples;
	struct interactions train, valid, known;
	bool from_samples, warm;
	uint64_t positives;
	struct model_file model;
	struct feature_table features;
	struct output out, log;
};

/* An option the stream decides: it must have been left alone or say the same. */
static int agree(const struct run *run, const char *name, int64_t *value, int64_t stream, struct error *error)
{
	if (option_given(&tool, run->operands, name) && *value != stream)
		return error_set(error, CODE_USAGE, "--%s %lld disagrees with the samples, which have %lld", name,
		                 (long long)*value, (long long)stream);
	*value = stream;
	return 0;
}

static int take_sample_settings(struct run *run, struct error *error)
{
	struct options *o = run->options;
	struct sample_shape shape;
	const json_t *seed = json_object_get(run->samples.metadata, "seed");
	const json_t *alpha = json_object_get(run->samples.metadata, "alpha");
	if (sample_shape_read(&run->samples, &shape, error) < 0)
		return -1;
	if (!json_is_integer(seed) || !json_is_number(alpha))
		return error_set(error, CODE_DATA, "%s: its metadata has no usable \"seed\" or \"alpha\"",
		                 run->samples.input.name);
	run->positives = shape.positives;
	if (option_given(&tool, run->operands, "alpha") && o->alpha != json_number_value(alpha))
		return error_set(error, CODE_USAGE, "--alpha %g disagrees with the samples, which have %g", o->alpha,
		                 json_number_value(alpha));
	o->alpha = json_number_value(alpha);
	if (agree(run, "ratio", &o->ratio, shape.ratio, error) < 0 ||
	    agree(run, "epochs", &o->epochs, shape.epochs, error) < 0)
		return -1;
	return agree(run, "seed", &o->seed, (int64_t)json_integer_value(seed), error);
}

/* Opens INPUT as what its header says it is. */
static int open_input(struct run *run, const char *path, struct error *error)
{
	struct stream_reader *reader = &run->samples;
	if (stream_reader_open(reader, path, 0, error) < 0)
		return -1;
	if (reader->kind == STREAM_SAMPLES) {
		run->from_samples = true;
		return records_info(reader, &run->model.ids, error) < 0 ? -1 : take_sample_settings(run, error);
	}
	if (reader->kind != STREAM_INTERACTIONS)
		return error_set(error, CODE_DATA, "%s: a stream of %s, expected interactions or samples",
		                 reader->input.name, stream_kind_name(reader->kind));
	if (interactions_from_stream(&run->train, reader, &run->model.ids, error) < 0)
		return -1;
	run->positives = run->train.count;
	return 0;
}

static int read_held_out(struct run *run, const char *path, struct interactions *into, struct error *error)
{
	struct stream_info info = {0};
	int result = interactions_read(into, path, &info, error);
	if (result == 0)
		result = records_same_ids("the training data", &run->model.ids, path, &info, error);
	stream_info_release(&info);
	return result;
}

static int read_others(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	if (o->valid && read_held_out(run, o->valid, &run->valid, error) < 0)
		return -1;
	for (size_t f = 0; f < o->known.count; f++) {
		struct interactions some = {0};
		int result = read_held_out(run, o->known.items[f], f ? &some : &run->known, error);
		if (result == 0 && f)
			result = interactions_merge(&run->known, &some, error);
		interactions_release(&some);
		if (result < 0)
			return -1;
	}
	return 0;
}

/* ---- first parameters ---- */

static void note_digest(struct run *run, const char *key, const struct interactions *interactions)
{
	char digest[TRAINER_DIGEST_SIZE];
	trainer_digest(interactions, digest);
	json_object_set_new(run->model.metadata, key, json_string(digest));
}

/* What the result depends on, and nothing else: a pipe and a file give the same. */
static int new_metadata(struct run *run, struct error *error)
{
	static const char *const skip[] = {"out", "valid", "known", "checkpoint", "checkpoint-minutes",
	                                   "checkpoint-batches", "resume", "init-from", "log", "threads", "isa",
	                                   "device", "quiet", "movies", "genres", "items", NULL};
	char options[1024], text[32], digest[FEATURE_DIGEST_SIZE];
	options_describe(&tool, run->options, skip, options, sizeof options);
	run->model.metadata = json_pack("{s:s, s:s}", "tool", tool.name, "options", options);
	if (!run->model.metadata)
		return error_set(error, CODE_SYSTEM, "out of memory for metadata");
	snprintf(text, sizeof text, "%lld", (long long)run->options->seed);
	json_object_set_new(run->model.metadata, "seed", json_string(text));
	snprintf(text, sizeof text, "%llu", (unsigned long long)run->positives);
	json_object_set_new(run->model.metadata, "positives", json_string(text));
	if (run->options->valid)
		note_digest(run, "valid", &run->valid);
	const struct options *o = run->options;
	const struct ials_options ials = {.regularization = o->regularization, .unobserved = o->unobserved,
	                                  .scaling = o->scaling};
	if (o->model == MODEL_IALS && ials_note_settings(run->model.metadata, &ials, error) < 0)
		return -1;
	if (run->options->known.count)
		note_digest(run, "known", &run->known);
	if (run->features.offsets) {
		feature_table_digest(&run->features, digest);
		json_object_set_new(run->model.metadata, "item_features", json_string(digest));
	}
	return 0;
}

static int new_shape(struct run *run, struct error *error)
{
	if (model_shape_parse(run->options->layers, &run->model.shape, error) < 0)
		return -1;
	run->model.shape.kind = (enum model_kind)run->options->model;
	run->model.shape.factors = (uint32_t)run->options->factors;
	run->model.shape.user_part = run->options->user_part;
	run->model.shape.features = run->features.view.count;
	run->model.shape.users = run->model.ids.users.count;
	run->model.shape.items = run->model.ids.items.count;
	return parameters_init(&run->model.parameters, &run->model.shape, error);
}

static int first_parameters(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	struct warm_start start = {.fusion = o->fusion};
	if (new_shape(run, error) < 0 || new_metadata(run, error) < 0 ||
	    warm_start_from(&start, &run->model, o->init_from.items, o->init_from.count, error) < 0)
		return -1;
	run->warm = start.models > 0;
	model_init_values(&run->model.shape, &run->model.parameters, (uint64_t)o->seed, 0, (uint32_t)o->ratio,
	                  start.users, start.items, start.tower || start.weights);
	return 0;
}

/* ---- resuming ---- */

static int load_start(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	if (first_parameters(run, error) < 0)
		return -1;
	if (!o->resume)
		return 0;
	if (access(o->checkpoint, F_OK) == 0)
		return warm_start_resume(&run->model, o->checkpoint, error);
	note("%s: no checkpoint yet, starting afresh", o->checkpoint);
	return 0;
}

/* ---- the run ---- */

static void follow_recipe(struct options *o, const struct operands *operands)
{
	const struct recipe *recipe = recipe_of((enum model_kind)o->model);
#define FOLLOW(member, name) \
	if (!option_given(&tool, operands, name)) \
		o->member = recipe->member;
	FOLLOW(loss, "loss")
	FOLLOW(factors, "factors")
	FOLLOW(epochs, "epochs")
	FOLLOW(batch, "batch")
	FOLLOW(rate, "lr")
	FOLLOW(weight_decay, "weight-decay")
	FOLLOW(dropout, "dropout")
	FOLLOW(average, "average")
#undef FOLLOW
	if (o->loss == LOSS_CATALOGUE || o->loss == LOSS_SQUARES)
		o->ratio = 0;
}

static void fit_to_data(struct run *run)
{
	struct options *o = run->options;
	const bool told = o->quiet || (o->batch && o->rate != 0);
	if (o->batch == 0)
		o->batch = recipe_batch(run->positives * (1 + (uint64_t)o->ratio));
	if (o->rate == 0)
		o->rate = recipe_rate(o->batch);
	if (!told)
		note("batches of %lld samples, rate %.6g", (long long)o->batch, o->rate);
}

static int check_options(const struct options *o, struct error *error)
{
	if (o->movies && (o->model != MODEL_HISTORY || !o->items))
		return error_set(error, CODE_USAGE, "--movies is for --model history, and needs --items");
	if (o->user_part && o->model != MODEL_HISTORY)
		return error_set(error, CODE_USAGE, "--user-part is for --model history");
	if (!o->out || strcmp(o->out, "-") == 0)
		return error_set(error, CODE_USAGE, "--out FILE is required (a model cannot go down a pipe)");
	if (o->resume && !o->checkpoint)
		return error_set(error, CODE_USAGE, "--resume needs --checkpoint");
	if ((o->checkpoint_minutes > 0 || o->checkpoint_batches > 0) && !o->checkpoint)
		return error_set(error, CODE_USAGE, "--checkpoint-minutes and --checkpoint-batches need --checkpoint");
	if (o->checkpoint && strcmp(o->checkpoint, o->out) == 0)
		return error_set(error, CODE_USAGE, "--checkpoint and --out name the same file");
	return 0;
}

static struct trainer_options trainer_options(const struct options *o)
{
	return (struct trainer_options){
		.seed = (uint64_t)o->seed, .epochs = (uint32_t)o->epochs, .ratio = (uint32_t)o->ratio,
		.batch = (uint64_t)o->batch, .rate = o->rate, .schedule = o->schedule, .warmup_epochs = o->warmup,
		.average = o->average, .loss = (enum loss)o->loss, .alpha = o->alpha,
		.precision = (enum precision)o->precision,
		.optimizer = {.beta1 = o->beta1, .beta2 = o->beta2, .epsilon = o->epsilon,
		              .weight_decay = o->weight_decay, .dropout = o->dropout, .dense_adam = o->adam == 1,
		              .regularization = o->regularization, .unobserved = o->unobserved, .scaling = o->scaling},
		.patience = (uint32_t)o->patience, .valid_candidates = (uint32_t)o->candidates,
		.checkpoint_minutes = o->checkpoint_minutes, .checkpoint_batches = (uint64_t)o->checkpoint_batches,
		.restarts = (uint32_t)o->restarts, .threads = (size_t)o->threads, .isa = o->isa, .device = o->device,
		.quiet = o->quiet,
	};
}

static int train(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	const struct trainer_options options = trainer_options(o);
	const struct trainer_inputs inputs = {
		.train = run->from_samples ? NULL : &run->train,
		.samples = run->from_samples ? &run->samples : NULL,
		.features = run->features.offsets ? &run->features.view : NULL,
		.known = o->known.count ? &run->known : NULL,
		.valid = o->valid ? &run->valid : NULL,
		.checkpoint_path = o->checkpoint,
		.log = o->log ? &run->log : NULL,
		.warm = run->warm,
	};
	/* Before the hours of training, not after them. */
	if (output_open(&run->out, o->out, error) < 0 || (o->log && output_open(&run->log, o->log, error) < 0))
		return -1;
	if (trainer_run(&run->model, &options, &inputs, error) < 0 ||
	    (inputs.features && feature_table_fold(&run->model, inputs.features, error) < 0) || model_write_to(&run->model, &run->out, error) < 0 ||
	    output_prepare(&run->out, error) < 0 || (o->log && output_commit(&run->log, error) < 0))
		return -1;
	return output_commit(&run->out, error);
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct run run = {.options = &options, .operands = &operands, .out = {.fd = -1}, .log = {.fd = -1}};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED || check_options(&options, &error) < 0)
		return error_report(&error);
	follow_recipe(&options, &operands);
	int result = open_input(&run, operands.items[0], &error);
	if (result == 0) {
		fit_to_data(&run);
		result = read_others(&run, &error);
	}
	if (result == 0 && options.movies)
		result = feature_table_read(&run.features, options.movies, options.genres, options.items,
		                            run.model.ids.items.count, &error);
	if (result == 0)
		result = load_start(&run, &error);
	if (result == 0)
		result = train(&run, &error);
	stream_reader_release(&run.samples);
	interactions_release(&run.train);
	interactions_release(&run.valid);
	interactions_release(&run.known);
	model_file_release(&run.model);
	feature_table_release(&run.features);
	output_release(&run.out);
	output_release(&run.log);
	return result == 0 ? CODE_OK : error_report(&error);
}
