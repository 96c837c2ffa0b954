/* A run of encode-ids: plan the outputs, read or start the maps, read what grows them, write the streams,
 * publish everything or nothing. */
#include "encoder.h"

#include "mem.h"

/* ---- planning ---- */

/* FOLDER/X.rec for some/where/X.csv.gz, X.tsv, X. */
static char *target_of(const char *folder, const char *path, struct error *error)
{
	if (strcmp(path, "-") == 0)
		return mem_copy_text("-", 1, error);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t length = strlen(name);
	if (length > 3 && strcmp(name + length - 3, ".gz") == 0)
		length -= 3;
	for (size_t i = length; i-- > 1;)
		if (name[i] == '.') {
			length = i;
			break;
		}
	size_t size = strlen(folder) + length + sizeof "/.rec";
	char *target = mem_alloc(size, 1, error);
	if (target)
		(void)snprintf(target, size, "%s/%.*s.rec", folder, (int)length, name);
	return target;
}

int encoder_init(struct encoder *encoder, const struct encoder_settings *settings, char **paths, size_t path_count,
                 struct error *error)
{
	*encoder = (struct encoder){
		.settings = settings, .users_output.fd = -1, .items_output.fd = -1, .spool.fd = -1,
	};
	encoder->sources = mem_alloc_zero(path_count, sizeof *encoder->sources, error);
	encoder->chunk = mem_alloc_zero(1, sizeof *encoder->chunk, error);
	if (!encoder->sources || !encoder->chunk)
		return -1;
	for (size_t i = 0; i < path_count; i++) {
		struct encoder_source *source = &encoder->sources[encoder->source_count++];
		*source = (struct encoder_source){
			.path = paths[i], .output.fd = -1, .builds = !settings->frozen && (i == 0 || settings->build_all),
		};
		source->target = target_of(settings->folder, paths[i], error);
		if (!source->target)
			return -1;
		for (size_t j = 0; j < i; j++)
			if (strcmp(encoder->sources[j].target, source->target) == 0)
				return error_set(error, CODE_USAGE, "%s and %s would both be written to %s", paths[j], paths[i],
				                 strcmp(source->target, "-") == 0 ? "stdout" : source->target);
	}
	return 0;
}

void encoder_release(struct encoder *encoder)
{
	for (size_t i = 0; i < encoder->source_count; i++) {
		stream_writer_release(&encoder->sources[i].writer);
		output_release(&encoder->sources[i].output);
		mem_free(encoder->sources[i].target);
	}
	mem_free(encoder->sources);
	output_release(&encoder->users_output);
	output_release(&encoder->items_output);
	spool_release(&encoder->spool);
	idmap_release(&encoder->users);
	idmap_release(&encoder->items);
	mem_free(encoder->chunk);
	mem_free(encoder->user_numbers);
	mem_free(encoder->item_numbers);
	stream_info_release(&encoder->info);
}

/* ---- the run ---- */

static int open_maps(struct encoder *encoder, struct error *error)
{
	const struct encoder_settings *settings = encoder->settings;
	if (settings->update || settings->frozen)
		return idmap_read_as(&encoder->users, settings->users, "users", error) ||
		       idmap_read_as(&encoder->items, settings->items, "items", error) ? -1 : 0;
	return idmap_init(&encoder->users, error) || idmap_init(&encoder->items, error) ? -1 : 0;
}

static int open_outputs(struct encoder *encoder, struct error *error)
{
	const struct encoder_settings *settings = encoder->settings;
	for (size_t i = 0; i < encoder->source_count; i++)
		if (output_open(&encoder->sources[i].output, encoder->sources[i].target, error))
			return -1;
	if (settings->frozen)
		return 0;
	if (output_open(&encoder->users_output, settings->users, error) ||
	    output_open(&encoder->items_output, settings->items, error))
		return -1;
	return spool_open(&encoder->spool, settings->folder, error);
}

/* Reads what builds the maps, and with --unknown keep the rest as well. */
static int grow_maps(struct encoder *encoder, struct error *error)
{
	const struct encoder_settings *settings = encoder->settings;
	for (size_t i = 0; i < encoder->source_count; i++)
		if (encoder->sources[i].builds && encoder_read(encoder, &encoder->sources[i], true, error))
			return -1;
	if (!encoder->users.count && !settings->frozen)
		return error_set(error, CODE_DATA, "%s: no row to build the maps from", encoder->sources[0].path);
	if (settings->sorted && (idmap_sort(&encoder->users, &encoder->user_numbers, error) ||
	                                        idmap_sort(&encoder->items, &encoder->item_numbers, error)))
		return -1;
	if (settings->unknown == UNKNOWN_KEEP)
		for (size_t i = 0; i < encoder->source_count; i++)
			if (!encoder->sources[i].builds && encoder_read(encoder, &encoder->sources[i], true, error))
				return -1;
	return 0;
}

static int write_streams(struct encoder *encoder, struct error *error)
{
	const struct encoder_settings *settings = encoder->settings;
	if (!settings->frozen && spool_rewind(&encoder->spool, error))
		return -1;
	for (size_t i = 0; i < encoder->source_count; i++) {
		struct encoder_source *source = &encoder->sources[i];
		bool was_read = source->builds || settings->unknown == UNKNOWN_KEEP;
		if (was_read ? encoder_complete(encoder, source, error) : encoder_read(encoder, source, false, error))
			return -1;
	}
	if (settings->frozen)
		return 0;
	return idmap_write(&encoder->users, "users", &encoder->users_output, error) ||
	       idmap_write(&encoder->items, "items", &encoder->items_output, error) ? -1 : 0;
}

/* Everything is on the disk before the first file gets its name. */
static int publish(struct encoder *encoder, struct error *error)
{
	bool maps = !encoder->settings->frozen;
	for (size_t i = 0; i < encoder->source_count; i++)
		if (output_prepare(&encoder->sources[i].output, error))
			return -1;
	if (maps && (output_prepare(&encoder->users_output, error) || output_prepare(&encoder->items_output, error) ||
	             output_commit(&encoder->users_output, error) || output_commit(&encoder->items_output, error)))
		return -1;
	for (size_t i = 0; i < encoder->source_count; i++)
		if (output_commit(&encoder->sources[i].output, error))
			return -1;
	return 0;
}

static void summarise(const struct encoder *encoder)
{
	if (encoder->bad)
		note("%llu of %llu rows could not be read", (unsigned long long)encoder->bad,
		     (unsigned long long)encoder->rows);
	for (size_t i = 0; i < encoder->source_count; i++) {
		const struct encoder_source *source = &encoder->sources[i];
		if (source->unknown_rows)
			note("%s: %llu of %llu rows dropped: %llu with a user, %llu with an item that is not in the maps",
			     source->path, (unsigned long long)source->unknown_rows,
			     (unsigned long long)(source->rows + source->unknown_rows),
			     (unsigned long long)source->unknown_users, (unsigned long long)source->unknown_items);
		if (!encoder->settings->quiet)
			note("%s: %llu interactions", source->path, (unsigned long long)source->rows);
	}
	if (!encoder->settings->quiet)
		note("%u users, %u items", encoder->users.count, encoder->items.count);
}

int encoder_run(struct encoder *encoder, struct error *error)
{
	progress_start(&encoder->progress, "rows", 0, encoder->settings->quiet);
	int failed = open_maps(encoder, error) || open_outputs(encoder, error) || grow_maps(encoder, error) ||
	             idmap_space(&encoder->users, &encoder->info.users, error) ||
	             idmap_space(&encoder->items, &encoder->info.items, error) || write_streams(encoder, error);
	progress_finish(&encoder->progress);
	if (failed || publish(encoder, error))
		return -1;
	summarise(encoder);
	return 0;
}
