/* Schemas: every kind's records come back as they were, and what no tool could have written is refused. */
#include "records.h"

#include "make_streams.h"
#include "sealed.h"

static struct stream_reader open_stream(const char *path, enum stream_kind kind, struct stream_info *info)
{
	struct error error = {0};
	struct stream_reader reader;
	CHECK_OK(stream_reader_open(&reader, path, kind, &error), &error);
	CHECK_OK(records_info(&reader, info, &error), &error);
	return reader;
}

static void test_interactions_come_back(void)
{
	for (int compress = 0; compress < 2; compress++) {
		struct error error = {0};
		struct stream_info info;
		struct interaction one;
		make_stream("s", STREAM_INTERACTIONS, compress);
		struct stream_reader reader = open_stream("s", STREAM_INTERACTIONS, &info);
		for (uint32_t i = 0; i < RECORDS; i++) {
			struct interaction expected = known_interaction(i);
			CHECK(interaction_read(&reader, &info, &one, &error) == 1);
			CHECK(one.user == expected.user && one.item == expected.item && one.time == expected.time);
			CHECK_CLOSE((double)one.rating, (double)expected.rating, 0);
		}
		CHECK(interaction_read(&reader, &info, &one, &error) == 0);
		stream_info_release(&info);
		stream_reader_release(&reader);
	}
}

static void test_samples_come_back(void)
{
	struct error error = {0};
	struct stream_info info;
	struct sample_shape shape;
	uint32_t user, items[RATIO + 1], expected[RATIO + 1];
	make_stream("s", STREAM_SAMPLES, false);
	struct stream_reader reader = open_stream("s", STREAM_SAMPLES, &info);
	CHECK_OK(sample_shape_read(&reader, &shape, &error), &error);
	CHECK(shape.ratio == RATIO && shape.epochs == 2 && shape.positives == RECORDS / 2);
	for (uint32_t i = 0; i < RECORDS; i++) {
		CHECK(sample_read(&reader, &info, RATIO, &user, items, &error) == 1);
		CHECK_EQUAL_U64(user, known_sample(i, expected));
		CHECK(memcmp(items, expected, sizeof items) == 0);
	}
	CHECK(sample_read(&reader, &info, RATIO, &user, items, &error) == 0);
	stream_info_release(&info);
	stream_reader_release(&reader);
}

static void check_list(const struct list *list, const struct list *expected)
{
	CHECK_EQUAL_U64(list->user, expected->user);
	CHECK_EQUAL_U64(list->count, expected->count);
	CHECK_EQUAL_U64(list->relevant_total, expected->relevant_total);
	for (uint32_t n = 0; n < expected->count && n < list->count; n++) {
		CHECK_EQUAL_U64(list->items[n], expected->items[n]);
		CHECK_CLOSE((double)list->scores[n], (double)expected->scores[n], 0);
		CHECK_EQUAL_U64(list->popularity[n], expected->popularity[n]);
		CHECK_EQUAL_U64(list->relevant[n], expected->relevant[n]);
	}
}

static void test_lists_come_back(void)
{
	struct error error = {0};
	struct stream_info info;
	struct list list = {0}, expected = {0};
	CHECK_OK(list_reserve(&expected, RECORDS, &error), &error);
	make_stream("s", STREAM_LISTS, true);
	struct stream_reader reader = open_stream("s", STREAM_LISTS, &info);
	for (uint32_t i = 0; i < RECORDS; i++) {
		CHECK(list_read(&reader, &info, &list, &error) == 1);
		known_list(i, &expected);
		check_list(&list, &expected);
	}
	CHECK(list_read(&reader, &info, &list, &error) == 0);
	list_release(&expected);
	list_release(&list);
	stream_info_release(&info);
	stream_reader_release(&reader);
}

/* Growing keeps what is there. */
static void test_list_grows(void)
{
	struct error error = {0};
	struct list list = {0}, expected = {0};
	CHECK_OK(list_reserve(&list, 4, &error), &error);
	CHECK_OK(list_reserve(&expected, 4, &error), &error);
	known_list(3, &list);
	known_list(3, &expected);
	CHECK_OK(list_reserve(&list, 100000, &error), &error);
	CHECK(list.capacity >= 100000);
	check_list(&list, &expected);
	list_release(&list);
	list_release(&expected);
}

/* The longest list fills a block; one more entry is refused. Scores that are not finite pass through. */
static void test_longest_list(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct stream_info info = {.users.count = 1, .items.count = UINT32_MAX - 1}, read;
	struct list list = {.count = list_count_max() + 1}, back = {0};
	json_t *metadata = records_metadata("test", "", &info, &error);
	CHECK_OK(output_open(&output, "long", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, metadata, false, &error), &error);
	CHECK(list_write(&writer, &list, &error) < 0);
	CHECK(error.code == CODE_DATA);
	error = (struct error){0};
	list.count = 0;
	CHECK_OK(list_reserve(&list, list_count_max(), &error), &error);
	list.count = list_count_max();
	for (uint32_t n = 0; n < list.count; n++) {
		list.items[n] = list.popularity[n] = n;
		list.scores[n] = n % 2 ? NAN : -INFINITY;
		list.relevant[n] = 0;
	}
	CHECK_OK(list_write(&writer, &list, &error), &error);
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	struct stream_reader reader = open_stream("long", STREAM_LISTS, &read);
	CHECK(list_read(&reader, &read, &back, &error) == 1);
	CHECK_EQUAL_U64(back.count, list.count);
	CHECK(back.count > 2 && isinf(back.scores[0]) && isnan(back.scores[1]));
	CHECK(list_read(&reader, &read, &back, &error) == 0);
	stream_reader_release(&reader);
	stream_writer_release(&writer);
	output_release(&output);
	stream_info_release(&read);
	list_release(&list);
	list_release(&back);
	json_decref(metadata);
}

/* A field of the first block's payload is changed and everything sealed anew. */
static void test_impossible_records(void)
{
	static const struct {
		const char *what;
		enum stream_kind kind;
		size_t at;
		uint32_t value;
		const char *refusal;
	} cases[] = {
		{"nothing", STREAM_INTERACTIONS, 0, 0, NULL},
		{"last user", STREAM_INTERACTIONS, 0, USERS - 1, NULL},
		{"user", STREAM_INTERACTIONS, 0, USERS, "record 1: user 30, expected one below 30"},
		{"item", STREAM_INTERACTIONS, 24, ITEMS, "record 2: item 40, expected one below 40"},
		{"no item", STREAM_INTERACTIONS, 24, UINT32_MAX, "record 2: item 4294967295, expected"},
		{"user", STREAM_SAMPLES, 0, USERS, "record 1: user 30, expected one below 30"},
		{"positive", STREAM_SAMPLES, 4, ITEMS, "record 1: item 40, expected one below 40"},
		{"no positive", STREAM_SAMPLES, 4, (uint32_t)NO_ITEM, "record 1: item 4294967295, expected"},
		{"negative", STREAM_SAMPLES, 8, ITEMS, "record 1: item 40, expected one below 40"},
		{"no negative", STREAM_SAMPLES, 8, (uint32_t)NO_ITEM, NULL},
		/* list 0 is empty (12 bytes), list 1 has one entry from byte 24 on, list 2 begins at 37 */
		{"user", STREAM_LISTS, 0, USERS, "record 1: user 30, expected one below 30"},
		{"count one more", STREAM_LISTS, 4, 1, "refused: "},
		{"count larger than the block", STREAM_LISTS, 4, 1u << 20, "a record goes beyond its block"},
		{"count huge", STREAM_LISTS, 4, UINT32_MAX, "a record goes beyond its block"},
		{"count whose bytes wrap", STREAM_LISTS, 4, 0x4ec4ec50, "a record goes beyond its block"},
		{"item", STREAM_LISTS, 24, ITEMS, "record 2: item 40, expected one below 40"},
		{"relevance", STREAM_LISTS, 36, 0x202, "user 1: relevance 2, expected 0 or 1"},
		{"more relevant than announced", STREAM_LISTS, 45, 0, "user 2: 1 relevant items, 0 in all are announced"},
		/* row 0: a part of 2 listed neighbours (28 bytes), one of a run of 3 (24 bytes) */
		{"row", STREAM_SIMILARITY, 0, ITEMS, "record 1: row 40, weight 1 of 2: the row is of no item"},
		{"no weights", STREAM_SIMILARITY, 4, 0, "record 1: row 0, weight 1 of 0: a part without weights"},
		{"count one more", STREAM_SIMILARITY, 4, 3, "refused: "},
		{"count huge", STREAM_SIMILARITY, 4, UINT32_MAX, "a record goes beyond its block"},
		{"count whose bytes wrap", STREAM_SIMILARITY, 32, 0x40000003, "a record goes beyond its block"},
		{"neighbour", STREAM_SIMILARITY, 12, ITEMS, "record 1: row 0, weight 1 of 2: a neighbour that is no item"},
		{"own neighbour", STREAM_SIMILARITY, 12, 0, "record 1: row 0, weight 1 of 2: an item is its own neighbour"},
		{"doubled neighbour", STREAM_SIMILARITY, 12, 5, "record 1: row 0, weight 2 of 2: out of order"},
		{"run over what is there", STREAM_SIMILARITY, 36, 5, "record 2: row 0, weight 1 of 3: out of order"},
		{"run beyond the items", STREAM_SIMILARITY, 36, ITEMS - 2, "record 2: row 0, weight 3 of 3: a neighbour"},
		{"run that wraps", STREAM_SIMILARITY, 36, UINT32_MAX - 1, "record 2: row 0, weight 1 of 3: a neighbour"},
		{"run over its own item", STREAM_SIMILARITY, 28, 8, "record 2: row 8, weight 2 of 3: an item is its own"},
		{"row behind a later one", STREAM_SIMILARITY, 0, 9, "record 2: row 0, weight 1 of 3: out of order"},
		{"weight NaN", STREAM_SIMILARITY, 20, 0x7fc00000, "record 1: row 0, weight 1 of 2: a weight that is not"},
		{"weight infinite", STREAM_SIMILARITY, 48, 0x7f800000, "record 2: row 0, weight 3 of 3: a weight that"},
		{"weight 0", STREAM_SIMILARITY, 48, 0, NULL},
		{"length beyond the block", STREAM_IDS, 0, 1000, "a record goes beyond its block"},
		{"length huge", STREAM_IDS, 0, UINT32_MAX, "a record goes beyond its block"},
		{"another string", STREAM_IDS, 4, 0x6d657458, "its header says"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		make_stream("whole", cases[i].kind, false);
		struct bytes bytes = bytes_read("whole");
		unsigned char *payload = bytes.at + header_size(&bytes) + BLOCK_HEADER_SIZE;
		put_u32(payload + cases[i].at, cases[i].value);
		seal_all(&bytes);
		if (cases[i].refusal)
			check_refused(&bytes, cases[i].what, cases[i].refusal);
		else
			check_accepted(&bytes, cases[i].what);
		free(bytes.at);
	}
}

/* ---- metadata ---- */

static void test_metadata_comes_back(void)
{
	struct error error = {0};
	struct stream_info info = known_info(), back;
	info.users.ancestors = json_pack("[{s:i, s:s}, {s:i, s:s}]", "count", 3, "digest",
	                                 "00000000000000000000000000000003", "count", 7, "digest",
	                                 "00000000000000000000000000000007");
	json_t *metadata = records_metadata("tool", "a=1 b=2", &info, &error);
	CHECK(metadata);
	CHECK_EQUAL_TEXT(json_string_value(json_object_get(metadata, "tool")), "tool");
	CHECK_EQUAL_TEXT(json_string_value(json_object_get(metadata, "options")), "a=1 b=2");
	CHECK_OK(stream_info_from_json("name", metadata, &back, &error), &error);
	CHECK(back.users.count == USERS && back.items.count == ITEMS);
	CHECK_EQUAL_TEXT(back.users.digest, info.users.digest);
	CHECK(json_equal(back.users.ancestors, info.users.ancestors));
	CHECK(!back.items.ancestors);
	CHECK(records_same_ids("a", &info, "b", &back, &error) == 0);
	stream_info_release(&info);
	stream_info_release(&back);
	json_decref(metadata);
	struct stream_info none = {0};
	CHECK(!records_metadata("tool", "\xff", &none, &error));
	CHECK(error.code == CODE_SYSTEM);
}

#define GOOD "{\"count\":2,\"digest\":\"\"}"
#define DIGEST "0123456789abcdef0123456789abcdef"

static void test_metadata_that_is_refused(void)
{
	static const struct {
		const char *users, *items;
		bool good;
	} cases[] = {
		{GOOD, GOOD, true},
		{GOOD, "{\"count\":4294967294,\"digest\":\"" DIGEST "\",\"other\":[1]}", true},
		{"{\"count\":0,\"digest\":\"\",\"ancestors\":[]}", GOOD, true},
		{"{\"count\":2,\"digest\":\"\",\"ancestors\":[" GOOD "]}", GOOD, true},
		{NULL, GOOD, false},
		{GOOD, NULL, false},
		{"3", GOOD, false},
		{"[]", GOOD, false},
		{"{}", GOOD, false},
		{"{\"count\":2}", GOOD, false},
		{"{\"digest\":\"\"}", GOOD, false},
		{"{\"count\":-1,\"digest\":\"\"}", GOOD, false},
		{"{\"count\":2.0,\"digest\":\"\"}", GOOD, false},
		{"{\"count\":\"2\",\"digest\":\"\"}", GOOD, false},
		{"{\"count\":4294967295,\"digest\":\"\"}", GOOD, false},
		{"{\"count\":9223372036854775807,\"digest\":\"\"}", GOOD, false},
		{GOOD, "{\"count\":2,\"digest\":5}", false},
		{GOOD, "{\"count\":2,\"digest\":\"0123\"}", false},
		{GOOD, "{\"count\":2,\"digest\":\"0123456789abcdef0123456789abcdeF\"}", false},
		{GOOD, "{\"count\":2,\"digest\":\"" DIGEST "0\"}", false},
		{GOOD, "{\"count\":2,\"digest\":\"\",\"ancestors\":{}}", false},
		{GOOD, "{\"count\":2,\"digest\":\"\",\"ancestors\":3}", false},
		{GOOD, "{\"count\":2,\"digest\":\"\",\"ancestors\":[3]}", false},
		{GOOD, "{\"count\":2,\"digest\":\"\",\"ancestors\":[{\"count\":1}]}", false},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct error error = {0};
		struct stream_info info;
		json_t *metadata = json_object();
		if (cases[i].users)
			json_object_set_new(metadata, "users", json_loads(cases[i].users, JSON_DECODE_ANY, NULL));
		if (cases[i].items)
			json_object_set_new(metadata, "items", json_loads(cases[i].items, JSON_DECODE_ANY, NULL));
		int result = stream_info_from_json("name", metadata, &info, &error);
		CHECK((result == 0) == cases[i].good);
		CHECK(cases[i].good ? error.code == CODE_OK
		                    : error.code == CODE_DATA && strncmp(error.message, "name: ", 6) == 0);
		if ((result == 0) != cases[i].good)
			printf("#   case %zu\n", i);
		if (result == 0)
			stream_info_release(&info);
		json_decref(metadata);
	}
}

static void test_sample_shapes_that_are_refused(void)
{
	static const struct {
		const char *key;
		json_int_t value;
		bool good;
	} cases[] = {
		{"ratio", 0, true},       {"ratio", 65535, true},          {"ratio", 65536, false},
		{"ratio", -1, false},     {"epochs", 0, false},            {"epochs", 1, true},
		{"epochs", 1LL << 31, false}, {"positives", 0, false}, {"positives", UINT32_MAX, true},
		{"positives", 1LL << 32, false},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct error error = {0};
		struct sample_shape shape;
		struct stream_reader reader = {.input.name = (char[]){"s"}, .metadata = known_metadata(STREAM_SAMPLES)};
		json_object_set_new(reader.metadata, cases[i].key, json_integer(cases[i].value));
		CHECK((sample_shape_read(&reader, &shape, &error) == 0) == cases[i].good);
		CHECK(cases[i].good || (error.code == CODE_DATA && strstr(error.message, cases[i].key)));
		json_object_del(reader.metadata, cases[i].key);
		error = (struct error){0};
		CHECK(sample_shape_read(&reader, &shape, &error) < 0);
		json_decref(reader.metadata);
	}
}

/* ---- id spaces ---- */

static void test_other_maps_are_refused(void)
{
	struct error error = {0};
	const struct stream_info a = known_info();
	struct stream_info b = a;
	CHECK(records_same_ids("a.rec", &a, "b.rec", &b, &error) == 0);
	b.users.count++;
	CHECK(records_same_ids("a.rec", &a, "b.rec", &b, &error) < 0);
	CHECK(error.code == CODE_DATA);
	CHECK(strstr(error.message, "a.rec") && strstr(error.message, "b.rec") && strstr(error.message, "users"));
	error = (struct error){0};
	b = a;
	b.items.digest[0] = '0';
	CHECK(records_same_ids("a.rec", &a, "b.rec", &b, &error) < 0);
	CHECK(strstr(error.message, "different items"));
	error = (struct error){0};
	b.items.digest[0] = '\0'; /* ids that are of no map: the count must do */
	CHECK(records_same_ids("a.rec", &a, "b.rec", &b, &error) == 0);
	b.items.count--;
	CHECK(records_same_ids("a.rec", &a, "b.rec", &b, &error) < 0);
}

static void test_grown_maps(void)
{
	const struct id_space old = {3, "00000000000000000000000000000003", NULL};
	const struct id_space other = {3, "00000000000000000000000000000004", NULL};
	struct id_space grown = {9, DIGEST, NULL};
	CHECK(id_space_extends(&old, &old));
	CHECK(!id_space_extends(&old, &other));
	CHECK(!id_space_extends(&grown, &old));
	grown.ancestors = json_pack("[{s:i, s:s}, {s:i, s:s}]", "count", 2, "digest",
	                            "00000000000000000000000000000002", "count", 3, "digest", old.digest);
	CHECK(id_space_extends(&grown, &old));
	CHECK(!id_space_extends(&grown, &other));
	CHECK(!id_space_extends(&old, &grown));
	id_space_release(&grown);
}

int main(void)
{
	RUN_IN_FOLDER(test_interactions_come_back);
	RUN_IN_FOLDER(test_samples_come_back);
	RUN_IN_FOLDER(test_lists_come_back);
	RUN(test_list_grows);
	RUN_IN_FOLDER(test_longest_list);
	RUN_IN_FOLDER(test_impossible_records);
	RUN_IN_FOLDER(test_metadata_comes_back);
	RUN(test_metadata_that_is_refused);
	RUN(test_sample_shapes_that_are_refused);
	RUN(test_other_maps_are_refused);
	RUN(test_grown_maps);
	return check_done();
}
