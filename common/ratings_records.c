/* Ratings going out as encode-ids writes them, without the text in between: the training part's users and items get new
 * numbers, in order of first appearance, and threads pack whole blocks of a stream, which the caller writes in order. */
#include "checksum.h"
#include "csv_scan.h"
#include "mem.h"
#include "parallel.h"
#include "ratings.h"
#include "records.h"
#include "relay.h"

enum { BATCH = 1024, BLOCK_RECORDS = STREAM_BLOCK_MAX / INTERACTION_SIZE, BLOCKS_A_THREAD = 2, SIDES = 2 };

/* The users, or the items. */
struct side {
	const struct ratings *ratings;
	const struct idmap *old;     /* all there are */
	const struct column *column;
	uint32_t *numbers;           /* by number in `old`: the one in `map`, or IDMAP_MISSING */
	struct idmap map;            /* those of the training part */
	struct error error;
	bool failed;
};

/* ---- new numbers ---- */

static int number_ids(struct side *side, struct error *error)
{
	const struct ratings *ratings = side->ratings;
	uint32_t ids[BATCH];
	if (idmap_init(&side->map, error) < 0)
		return -1;
	side->numbers = mem_alloc(side->old->count, sizeof *side->numbers, error);
	if (!side->numbers)
		return -1;
	memset(side->numbers, 0xff, side->old->count * sizeof *side->numbers); /* IDMAP_MISSING */
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = ratings->count - r < BATCH ? (size_t)(ratings->count - r) : BATCH;
		column_read_narrow(side->column, r, some, ids);
		for (size_t i = 0; i < some; i++) {
			size_t length;
			if (side->numbers[ids[i]] != (uint32_t)IDMAP_MISSING || ratings->part[r + i] != PART_TRAIN)
				continue;
			const char *text = idmap_text(side->old, ids[i], &length);
			if (idmap_add(&side->map, text, length, &side->numbers[ids[i]], error) < 0)
				return -1;
		}
	}
	return 0;
}

static void number_side(void *context, size_t shard, size_t worker)
{
	struct side *side = (struct side *)context + shard;
	(void)worker;
	side->failed = number_ids(side, &side->error) < 0;
}

static int number_sides(struct side sides[SIDES], size_t threads, struct error *error)
{
	struct pool *pool = pool_new(threads > SIDES ? SIDES : threads, error);
	if (!pool)
		return -1;
	pool_run(pool, SIDES, number_side, sides);
	pool_free(pool);
	for (size_t s = 0; s < SIDES; s++)
		if (sides[s].failed) {
			*error = sides[s].error;
			return -1;
		}
	return 0;
}

/* Takes rows whose user or item has no number out of the part. */
static void drop_unknown(struct ratings *ratings, const struct side sides[SIDES], enum part part,
                         struct ratings_streams *streams)
{
	uint8_t *at = ratings->part, *end = at + ratings->count;
	for (; (at = memchr(at, (int)part, (size_t)(end - at))); at++) {
		const uint64_t row = (uint64_t)(at - ratings->part);
		const bool no_user = sides[0].numbers[column_get(&ratings->user, row)] == (uint32_t)IDMAP_MISSING;
		const bool no_item = sides[1].numbers[column_get(&ratings->item, row)] == (uint32_t)IDMAP_MISSING;
		if (!no_user && !no_item)
			continue;
		*at = PART_DROPPED;
		streams->unknown_users[part] += no_user;
		streams->unknown_items[part] += no_item;
		streams->unknown_rows[part]++;
	}
}

/* ---- blocks ---- */

struct block {
	unsigned char *bytes;
	uint64_t begin, end;         /* rows */
	struct stream_packed packed;
};

struct packing {
	const struct ratings *ratings;
	const uint32_t *users, *items; /* numbers */
	const float *values;         /* of rating texts */
	enum part part;
	struct block *blocks;
	uint64_t next;               /* the row where the next block begins */
};

static size_t count_rows(const uint8_t *parts, size_t count, enum part part)
{
	uint32_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += parts[i] == part;
	return found;
}

static int next_block(void *context, size_t slot, struct error *error)
{
	struct packing *packing = context;
	struct block *block = &packing->blocks[slot];
	const uint8_t *parts = packing->ratings->part;
	const uint64_t count = packing->ratings->count;
	size_t records = 0;
	(void)error;
	block->begin = packing->next;
	while (packing->next < count && records < BLOCK_RECORDS) {
		const size_t some = count - packing->next < BATCH ? (size_t)(count - packing->next) : BATCH;
		const size_t found = count_rows(parts + packing->next, some, packing->part);
		if (found <= BLOCK_RECORDS - records) {
			records += found;
			packing->next += some;
		} else {
			while (records < BLOCK_RECORDS)
				records += parts[packing->next++] == packing->part;
		}
	}
	block->end = packing->next;
	block->packed.records = (uint32_t)records;
	return records > 0;
}

/* Columns of some rows. */
struct columns {
	uint32_t users[BATCH], items[BATCH], codes[BATCH];
	uint64_t times[BATCH];
};

/* Rows as they go out. */
struct packed {
	uint32_t users[BATCH], items[BATCH];
	float ratings[BATCH];
	int64_t times[BATCH];
};

static void read_columns(const struct ratings *ratings, uint64_t begin, size_t count, struct columns *columns)
{
	column_read_narrow(&ratings->user, begin, count, columns->users);
	column_read_narrow(&ratings->item, begin, count, columns->items);
	if (ratings->has_rating)
		column_read_narrow(&ratings->rating, begin, count, columns->codes);
	if (ratings->has_time)
		column_read(&ratings->time, begin, count, columns->times);
}

/* Those of `count` rows that are of the part, and how many they are. */
static size_t choose_rows(const struct packing *packing, const uint8_t *parts, const struct columns *RESTRICT from,
                          size_t count, struct packed *RESTRICT to)
{
	const uint32_t *users = packing->users, *items = packing->items;
	const float *values = packing->values;
	const uint64_t first_time = (uint64_t)packing->ratings->first_time;
	const enum part part = packing->part;
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		to->users[kept] = users[from->users[i]];
		to->items[kept] = items[from->items[i]];
		to->ratings[kept] = values[from->codes[i]];
		to->times[kept] = (int64_t)(first_time + (uint64_t)column_unzigzag(from->times[i]));
		kept += parts[i] == part;
	}
	return kept;
}

static void pack_block(void *context, size_t slot)
{
	const struct packing *packing = context;
	struct block *block = &packing->blocks[slot];
	const uint8_t *parts = packing->ratings->part;
	struct columns columns = {.codes = {0}, .times = {0}}; /* as they stay where there are none */
	struct packed packed;
	const struct interaction_columns out = {packed.users, packed.items, packed.ratings, packed.times};
	size_t records = 0;
	for (uint64_t r = block->begin; r < block->end; r += BATCH) {
		const size_t some = block->end - r < BATCH ? (size_t)(block->end - r) : BATCH;
		if (!memchr(parts + r, (int)packing->part, some))
			continue;
		read_columns(packing->ratings, r, some, &columns);
		const size_t kept = choose_rows(packing, parts + r, &columns, some, &packed);
		interactions_pack(&out, 0, kept, block->bytes + records * INTERACTION_SIZE);
		records += kept;
	}
	block->packed.bytes = block->bytes;
	block->packed.size = records * INTERACTION_SIZE;
	block->packed.crc = checksum_crc32(block->bytes, block->packed.size);
}

static int write_blocks(struct packing *packing, size_t helpers, size_t slots, struct stream_writer *writer,
                        struct error *error)
{
	const struct relay_work work = {next_block, pack_block, packing};
	struct relay *relay = relay_new(helpers, slots, &work, error);
	size_t slot;
	int more = -1;
	while (relay && (more = relay_take(relay, &slot, error)) > 0)
		if (stream_put_block(writer, &packing->blocks[slot].packed, error) < 0)
			break;
	relay_free(relay);
	return more == 0 ? 0 : -1;
}

static int write_part(struct packing *packing, size_t helpers, size_t slots, const struct stream_info *info,
                      struct output *output, struct error *error)
{
	struct stream_writer writer = {0};
	json_t *metadata = interactions_metadata("encode-ids", "", info, packing->ratings->has_rating,
	                                         packing->ratings->has_time, error);
	int result = metadata ? stream_writer_open(&writer, output, STREAM_INTERACTIONS, metadata, false, error) : -1;
	packing->next = 0;
	if (result == 0)
		result = write_blocks(packing, helpers, slots, &writer, error);
	if (result == 0)
		result = stream_writer_finish(&writer, error);
	stream_writer_release(&writer);
	json_decref(metadata);
	return result;
}

/* ---- all of it ---- */

/* What each rating text is worth; a value of 1 where there are none. To be freed with mem_free. */
static float *rating_values(const struct ratings *ratings, struct error *error)
{
	float *values = mem_alloc((size_t)ratings->rating_texts.count + 1, sizeof *values, error);
	for (uint32_t code = 0; values && code <= ratings->rating_texts.count; code++) {
		double value = 1.0;
		size_t length = 0;
		const char *text = code < ratings->rating_texts.count ? idmap_text(&ratings->rating_texts, code, &length) : "";
		if (length > 0)
			(void)csv_rating_of(text, length, &value); /* it was one when it was read */
		values[code] = (float)value;
	}
	return values;
}

static int write_parts(struct packing *packing, const struct side sides[SIDES], const struct ratings_streams *streams,
                       size_t threads, struct error *error)
{
	const size_t all = threads ? threads : processor_count(), helpers = all > 1 ? all : 0;
	const size_t slots = helpers ? helpers * BLOCKS_A_THREAD : 1;
	struct stream_info info = {{0}, {0}};
	int result = idmap_space(&sides[0].map, &info.users, error);
	if (result == 0)
		result = idmap_space(&sides[1].map, &info.items, error);
	if (result == 0 && !(packing->blocks = mem_alloc_zero(slots, sizeof *packing->blocks, error)))
		result = -1;
	for (size_t s = 0; result == 0 && s < slots; s++)
		if (!(packing->blocks[s].bytes = mem_alloc(STREAM_BLOCK_MAX, 1, error)))
			result = -1;
	for (int p = 0; p < PARTS && result == 0; p++) {
		packing->part = (enum part)p;
		if (streams->parts[p])
			result = write_part(packing, helpers, slots, &info, streams->parts[p], error);
	}
	for (size_t s = 0; packing->blocks && s < slots; s++)
		mem_free(packing->blocks[s].bytes);
	mem_free(packing->blocks);
	stream_info_release(&info);
	return result;
}

int ratings_write_records(struct ratings *ratings, struct ratings_streams *streams, size_t threads, struct error *error)
{
	struct side sides[SIDES] = {{.ratings = ratings, .old = &ratings->users, .column = &ratings->user},
	                            {.ratings = ratings, .old = &ratings->items, .column = &ratings->item}};
	float *values = rating_values(ratings, error);
	int result = values ? number_sides(sides, threads, error) : -1;
	if (result == 0) {
		struct packing packing = {.ratings = ratings, .users = sides[0].numbers, .items = sides[1].numbers,
		                          .values = values};
		const bool all_known = sides[0].map.count == ratings->users.count && sides[1].map.count == ratings->items.count;
		for (int p = PART_TRAIN + 1; p < PARTS && !all_known; p++)
			drop_unknown(ratings, sides, (enum part)p, streams);
		result = write_parts(&packing, sides, streams, threads, error);
	}
	if (result == 0)
		result = idmap_write(&sides[0].map, "users", streams->users, error);
	if (result == 0)
		result = idmap_write(&sides[1].map, "items", streams->items, error);
	for (size_t s = 0; s < SIDES; s++) {
		idmap_release(&sides[s].map);
		mem_free(sides[s].numbers);
	}
	mem_free(values);
	return result;
}
