/* A blend as JSON (docs/formats.md): numbers with 17 digits, so that what is read is what was written. */
#include <jansson.h>
#include <math.h>

#include "blend.h"
#include "io.h"
#include "mem.h"

enum { FILE_MAX = 1 << 20, VERSION = 1 };

static const char format_name[] = "recpipe-blend";

/* ---- writing ---- */

static json_t *signal_json(const struct blend_signal *signal)
{
	return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "name", signal->signal.name, "decay", signal->signal.decay,
	                 "mean", signal->mean, "scale", signal->scale, "weight", signal->weight, "by_popularity",
	                 signal->by_popularity, "by_activity", signal->by_activity);
}

static json_t *report_json(const struct blend_fit_report *report)
{
	json_t *compared = json_array();
	for (size_t p = 0; p < report->tried; p++)
		json_array_append_new(compared, json_pack("{s:f, s:f}", "l2", report->penalties[p], "held_out_log_likelihood",
		                                          report->held_out[p]));
	return json_pack("{s:I, s:I, s:f, s:f, s:f, s:o}", "lists", (json_int_t)report->lists, "candidates",
	                 (json_int_t)report->candidates, "l2", report->l2, "log_likelihood", report->log_likelihood,
	                 "log_likelihood_of_equal_scores", report->uniform, "compared", compared);
}

int blend_write(const struct blend *blend, const char *path, struct error *error)
{
	struct output output = {.fd = -1};
	json_t *signals = json_array();
	for (size_t s = 0; s < blend->count; s++)
		json_array_append_new(signals, signal_json(&blend->signals[s]));
	json_t *json = json_pack("{s:s, s:i, s:{s:f, s:f}, s:o, s:o}", "format", format_name, "version", VERSION, "activity",
	                         "mean", blend->activity_mean, "scale", blend->activity_scale, "signals", signals, "fit",
	                         report_json(&blend->report));
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
	int result = text ? output_open(&output, path, error) : error_set(error, CODE_SYSTEM, "out of memory for JSON");
	if (result == 0)
		result = output_print(&output, error, "%s\n", text);
	if (result == 0)
		result = output_commit(&output, error);
	output_release(&output);
	free(text);
	json_decref(json);
	return result;
}

/* ---- reading ---- */

static int read_text(const char *path, char **text, size_t *size, struct error *error)
{
	struct input input = {0};
	ptrdiff_t got = 0;
	*size = 0;
	*text = mem_alloc(FILE_MAX, 1, error);
	int result = *text ? input_open(&input, path, error) : -1;
	while (result == 0 && *size < FILE_MAX && (got = input_read(&input, *text + *size, FILE_MAX - *size, error)) > 0)
		*size += (size_t)got;
	input_release(&input);
	return result == 0 && got >= 0 ? 0 : -1;
}

/* A finite number under `key`. */
static int read_number(const char *path, const json_t *object, const char *key, double *value, struct error *error)
{
	const json_t *number = json_object_get(object, key);
	*value = json_is_number(number) ? json_number_value(number) : NAN;
	return isfinite(*value) ? 0 : error_set(error, CODE_DATA, "%s: '%s' is missing or no number", path, key);
}

static int read_signal(const char *path, const json_t *object, const struct signal_sources *sources,
                       struct blend_signal *signal, struct error *error)
{
	const char *name = json_string_value(json_object_get(object, "name"));
	double decay = 0;
	if (!name)
		return error_set(error, CODE_DATA, "%s: a signal without a name", path);
	if (read_number(path, object, "decay", &decay, error) < 0 ||
	    read_number(path, object, "mean", &signal->mean, error) < 0 ||
	    read_number(path, object, "scale", &signal->scale, error) < 0 ||
	    read_number(path, object, "weight", &signal->weight, error) < 0 ||
	    read_number(path, object, "by_popularity", &signal->by_popularity, error) < 0 ||
	    read_number(path, object, "by_activity", &signal->by_activity, error) < 0)
		return -1;
	return signals_find(sources, path, name, decay, &signal->signal, error);
}

static int read_json(struct blend *blend, const char *path, const json_t *json, const struct signal_sources *sources,
                     struct error *error)
{
	const char *format = json_string_value(json_object_get(json, "format"));
	const json_t *signals = json_object_get(json, "signals"), *activity = json_object_get(json, "activity");
	if (!format || strcmp(format, format_name) != 0)
		return error_set(error, CODE_DATA, "%s: no blend, expected the JSON that rerank --fit writes", path);
	if (json_integer_value(json_object_get(json, "version")) != VERSION)
		return error_set(error, CODE_DATA, "%s: a version of blends other than %d", path, VERSION);
	if (json_array_size(signals) == 0 || json_array_size(signals) > SIGNALS_MAX)
		return error_set(error, CODE_DATA, "%s: %zu signals, expected 1 to %d", path, json_array_size(signals),
		                 SIGNALS_MAX);
	if (read_number(path, activity, "mean", &blend->activity_mean, error) < 0 ||
	    read_number(path, activity, "scale", &blend->activity_scale, error) < 0)
		return -1;
	blend->popularity = SIGNALS_MAX;
	for (blend->count = 0; blend->count < json_array_size(signals); blend->count++) {
		struct blend_signal *signal = &blend->signals[blend->count];
		if (read_signal(path, json_array_get(signals, blend->count), sources, signal, error) < 0)
			return -1;
		if (signal->signal.kind == SIGNAL_POPULARITY)
			blend->popularity = blend->count;
	}
	return blend->popularity < SIGNALS_MAX ? 0 : error_set(error, CODE_DATA, "%s: lacks the signal 'popularity'", path);
}

int blend_read(struct blend *blend, const char *path, const struct signal_sources *sources, struct error *error)
{
	char *text = NULL;
	size_t size;
	json_error_t why;
	*blend = (struct blend){0};
	int result = read_text(path, &text, &size, error);
	json_t *json = result == 0 ? json_loadb(text, size, JSON_REJECT_DUPLICATES, &why) : NULL;
	if (result == 0 && !json)
		result = error_set(error, CODE_DATA, "%s:%d: %s, expected the JSON that rerank --fit writes", path, why.line,
		                   why.text);
	if (result == 0)
		result = read_json(blend, path, json, sources, error);
	json_decref(json);
	mem_free(text);
	return result;
}
