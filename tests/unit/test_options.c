/* The option table: parsing of every kind, ranges and their messages, help, man page, completion. */
#include "options.h"

#include "check.h"
#include "child.h"

static const char *const colours[] = {"red", "green", "blue", NULL};

struct settings {
	bool loud, header;
	int64_t count, any, memory;
	double rate, real;
	const char *name, *output;
	int colour;
	struct text_list inputs;
	struct int_list cuts;
};

static const struct settings defaults = {
	.header = true, .count = 5, .rate = 0.5, .output = "-", .colour = 1,
	.inputs = {.items = {"preset"}, .count = 1}, .cuts = {.items = {1, 10}, .count = 2},
};

#define AT(field) offsetof(struct settings, field)

static const struct option_spec specs[] = {
	{'l', "loud", OPTION_FLAG, AT(loud), NULL, "Say more.", 0, 0, NULL},
	{0, "header", OPTION_FLAG, AT(header), NULL, "Write a header.", 0, 0, NULL},
	{'n', "count", OPTION_INT, AT(count), "N", "How many.", 1, 1e6, NULL},
	{0, "any", OPTION_INT, AT(any), "N", "Any integer.", 0, 0, NULL},
	{0, "memory", OPTION_BYTES, AT(memory), "BYTES", "Memory.", 0, 1e18, NULL},
	{'r', "rate", OPTION_REAL, AT(rate), "X", "A rate.", 0, 1, NULL},
	{0, "real", OPTION_REAL, AT(real), "X", "Any number.", 0, 0, NULL},
	{0, "name", OPTION_TEXT, AT(name), "TEXT", "A name.", 0, 0, NULL},
	{'o', "output", OPTION_TEXT, AT(output), "FILE", "Where it goes.", 0, 0, NULL},
	{'c', "colour", OPTION_CHOICE, AT(colour), NULL, "Its colour.", 0, 0, colours},
	{'i', "input", OPTION_LIST, AT(inputs), "FILE", "What is read; may be repeated.", 0, 0, NULL},
	{'k', "cuts", OPTION_INT_LIST, AT(cuts), "N,...", "Where to cut.", 1, 1000, NULL},
};

static const struct tool_spec tool = {
	.name = "paint-it", .summary = "paint things", .operands = "FILE...",
	.description = "Paints.\n\n.dots and -dashes and back\\slashes stay.", .examples = "paint-it -c red x\n  a red x\n",
	.see_also = "wash(1)", .options = specs, .option_count = COUNT_OF(specs), .defaults = &defaults,
	.size = sizeof defaults, .minimum_operands = 0, .maximum_operands = 3,
};

enum { ARGUMENTS_MAX = 80 };

struct parsed {
	enum options_verdict verdict;
	struct settings values;
	struct operands operands;
	struct error error;
	char text[4096];
	char *argv[ARGUMENTS_MAX];
};

/* Parses a command line given as words separated by single spaces. */
static void parse_with(struct parsed *parsed, const struct tool_spec *spec, const char *line)
{
	int argc = 0;
	*parsed = (struct parsed){0};
	snprintf(parsed->text, sizeof parsed->text, "paint-it%s%s", line[0] ? " " : "", line);
	for (char *at = parsed->text; at && argc < ARGUMENTS_MAX - 1;) {
		parsed->argv[argc++] = at;
		at = strchr(at, ' ');
		if (at)
			*at++ = '\0';
	}
	parsed->verdict = options_parse(spec, argc, parsed->argv, &parsed->values, &parsed->operands, &parsed->error);
}

static struct parsed parse(const char *line)
{
	static struct parsed parsed;
	parse_with(&parsed, &tool, line);
	if (parsed.verdict == OPTIONS_FAILED)
		CHECK(parsed.error.code != CODE_OK);
	else
		CHECK_EQUAL_TEXT(parsed.error.message, "");
	for (size_t i = 0; i < parsed.operands.count; i++) /* they point into this very copy */
		CHECK(parsed.operands.items[i] >= parsed.text && parsed.operands.items[i] < parsed.text + sizeof parsed.text);
	return parsed;
}

/* The line is refused as wrong usage, `text` stands in the message, and the message points to --help. */
static void refused(const char *line, const char *text)
{
	const struct parsed p = parse(line);
	bool told = strstr(p.error.message, text) && strstr(p.error.message, "see paint-it --help");
	if (p.verdict != OPTIONS_FAILED || p.error.code != CODE_USAGE || !told)
		printf("# '%s' gave: %s\n", line, p.error.message);
	CHECK(p.verdict == OPTIONS_FAILED);
	CHECK_EQUAL_U64(p.error.code, CODE_USAGE);
	CHECK(told);
}

static void test_defaults_stand(void)
{
	const struct parsed p = parse("");
	CHECK(p.verdict == OPTIONS_RUN);
	CHECK(memcmp(&p.values, &defaults, sizeof defaults) == 0);
	CHECK_EQUAL_U64(p.operands.count, 0);
}

static void test_every_way_to_write_a_value(void)
{
	static const char *const lines[] = {"--count=7", "--count 7", "-n7", "-n 7", "-ln7", "-n 3 -n 7", "--cou 7"};
	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		const struct parsed p = parse(lines[i]);
		CHECK(p.verdict == OPTIONS_RUN);
		CHECK_EQUAL_U64(p.values.count, 7);
	}
}

static void test_flags(void)
{
	CHECK(parse("--loud").values.loud && parse("-l").values.loud);
	CHECK(!parse("--loud --no-loud").values.loud);
	CHECK(!parse("--no-header").values.header);
	CHECK(parse("--no-header --header").values.header);
	refused("--loud=yes", "no value is expected in option '--loud=yes'");
	refused("--no-count", "unknown option '--no-count'");
}

static void test_integers(void)
{
	static const struct {
		const char *line;
		int64_t value;
	} good[] = {
		{"--any=0", 0}, {"--any=-5", -5}, {"--any=+5", 5}, {"--any=3k", 3000}, {"--any=3K", 3000},
		{"--any=-2M", -2000000}, {"--any=4G", 4000000000}, {"--any=007", 7},
		{"--any=9223372036854775807", INT64_MAX}, {"--any=-9223372036854775808", INT64_MIN},
	};
	for (size_t i = 0; i < COUNT_OF(good); i++)
		CHECK_EQUAL_U64(parse(good[i].line).values.any, good[i].value);
	CHECK_EQUAL_U64(parse("--count=1M").values.count, 1000000);
	CHECK_EQUAL_U64(parse("--memory=2G").values.memory, (uint64_t)2 << 30);
	CHECK_EQUAL_U64(parse("--memory=1T").values.memory, (uint64_t)1 << 40);
	CHECK_EQUAL_U64(parse("--memory=3k").values.memory, 3072);
	static const char *const bad[] = {"", "x", "1x", "1kk", "1.5", "1e3", "0x10", "-", "--", "k", "9223372036854775808",
	                                  "9223372036854776k", "\t1", "\v1"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		char line[64];
		snprintf(line, sizeof line, "--any=%s", bad[i]);
		refused(line, "is not an integer");
		refused(line, "--any: ");
	}
	refused("--count=0", "--count: '0' is not an integer from 1 to 1000000");
	refused("-n -1", "--count: '-1' is not an integer from 1 to 1000000");
	refused("--count 1000001", "from 1 to 1000000");
	refused("--memory=-1", "--memory: '-1' is not an integer of at least 0");
}

static void test_reals(void)
{
	CHECK(parse("--rate=0").values.rate == 0 && parse("-r1").values.rate == 1);
	CHECK(parse("--rate=.25").values.rate == 0.25);
	CHECK(parse("--real=-1e-3").values.real == -1e-3 && parse("--real 1e300").values.real == 1e300);
	static const char *const bad[] = {"", "x", "1x", "nan", "inf", "-inf", "1e999", "1,5", "\t1"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		char line[64];
		snprintf(line, sizeof line, "--real=%s", bad[i]);
		refused(line, "is not a number");
	}
	refused("--rate=1.01", "--rate: '1.01' is not a number from 0 to 1");
	refused("--rate=-0.01", "from 0 to 1");
}

static void test_texts_and_choices(void)
{
	CHECK(parse("").values.name == NULL);
	CHECK_EQUAL_TEXT(parse("--name=").values.name, "");
	CHECK_EQUAL_TEXT(parse("--name -x").values.name, "-x");
	CHECK_EQUAL_TEXT(parse("-oa -o b").values.output, "b");
	CHECK_EQUAL_U64(parse("--colour=red").values.colour, 0);
	CHECK_EQUAL_U64(parse("-c blue").values.colour, 2);
	refused("--colour=re", "--colour: 're' is unknown, expected one of: red, green, blue");
	refused("--colour=", "expected one of");
}

static void test_lists(void)
{
	struct parsed p = parse("");
	CHECK_EQUAL_U64(p.values.inputs.count, 1);
	p = parse("-ia --input=b -i c");
	CHECK_EQUAL_U64(p.values.inputs.count, 3); /* the default's is replaced */
	CHECK_EQUAL_TEXT(p.values.inputs.items[0], "a");
	CHECK_EQUAL_TEXT(p.values.inputs.items[2], "c");
	p = parse("-k 5");
	CHECK(p.values.cuts.count == 1 && p.values.cuts.items[0] == 5);
	p = parse("--cuts=1,5,10,1k");
	CHECK(p.values.cuts.count == 4 && p.values.cuts.items[3] == 1000);
	refused("--cuts=1,,2", "--cuts: '' is not an integer from 1 to 1000");
	refused("--cuts=", "--cuts: ''");
	refused("--cuts=5,", "--cuts: ''");
	refused("--cuts=5,1001", "--cuts: '1001'");
	refused("--cuts=1,000000000000000000000000000000000002", "is not an integer");
}

static void test_lists_are_bounded(void)
{
	char line[1024] = "", numbers[1024] = "--cuts=1";
	for (int i = 0; i < OPTION_LIST_MAX; i++)
		snprintf(line + strlen(line), sizeof line - strlen(line), "%s-i%d", i ? " " : "", i);
	CHECK_EQUAL_U64(parse(line).values.inputs.count, OPTION_LIST_MAX);
	snprintf(line + strlen(line), sizeof line - strlen(line), " -ix");
	refused(line, "--input is given more than 64 times");
	for (int i = 1; i < OPTION_LIST_MAX; i++)
		snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), ",1");
	CHECK_EQUAL_U64(parse(numbers).values.cuts.count, OPTION_LIST_MAX);
	snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), ",1");
	refused(numbers, "--cuts: more than 64 numbers");
}

static void test_operands(void)
{
	struct parsed p = parse("a -l - --count 3 c");
	CHECK(p.verdict == OPTIONS_RUN && p.values.loud && p.values.count == 3);
	CHECK_EQUAL_U64(p.operands.count, 3);
	CHECK_EQUAL_TEXT(p.operands.items[0], "a");
	CHECK_EQUAL_TEXT(p.operands.items[1], "-");
	CHECK_EQUAL_TEXT(p.operands.items[2], "c");
	p = parse("a -- -l --count");
	CHECK(p.verdict == OPTIONS_RUN && !p.values.loud && p.operands.count == 3);
	CHECK_EQUAL_TEXT(p.operands.items[2], "--count");
	refused("a b c d", "unexpected operand 'd'");
	struct tool_spec needy = tool;
	struct parsed few;
	needy.minimum_operands = 2;
	parse_with(&few, &needy, "a");
	CHECK(few.verdict == OPTIONS_FAILED && few.error.code == CODE_USAGE);
	CHECK(strstr(few.error.message, "an operand is missing, expected 'FILE...'") != NULL);
}

static void test_given_options_are_known(void)
{
	struct parsed parsed = parse("-n 5 --no-header x");
	CHECK(option_given(&tool, &parsed.operands, "count"));
	CHECK(option_given(&tool, &parsed.operands, "header"));
	CHECK(!option_given(&tool, &parsed.operands, "rate") && !option_given(&tool, &parsed.operands, "none"));
}

static void test_unknown_options_are_named(void)
{
	refused("--bogus", "unknown option '--bogus'");
	refused("--bogus=1 x", "unknown option '--bogus=1'");
	refused("-z", "unknown option '-z'");
	refused("-lz", "unknown option '-z'");
	refused("--co", "unknown option '--co'"); /* count or colour */
	refused("--count", "a value is missing behind option '--count'");
	refused("x -n", "a value is missing behind option '-n'");
}

/* ---- what goes into metadata ---- */

static const char *described(const char *line, const char *const *skip, size_t size)
{
	static char text[512];
	const struct parsed p = parse(line);
	memset(text, '#', sizeof text);
	options_describe(&tool, &p.values, skip, text, size);
	CHECK(strlen(text) < size);
	return text;
}

static void test_description_holds_what_differs(void)
{
	static const char *const skip[] = {"output", "input", NULL};
	CHECK_EQUAL_TEXT(described("", NULL, 512), "");
	CHECK_EQUAL_TEXT(described("--count=5 --colour=green -o -", NULL, 512), "");
	CHECK_EQUAL_TEXT(described("--count=6 --no-header -l -cred --rate=0.125 -k1,2 -ia -ib --memory=1k", NULL, 512),
	                 "loud=yes header=no count=6 memory=1024 rate=0.125 colour=red input=a,b cuts=1,2");
	CHECK_EQUAL_TEXT(described("-o x -i y --name z", skip, 512), "name=z");
	CHECK_EQUAL_TEXT(described("-l --count=6", NULL, 12), "loud=yes");
	CHECK_EQUAL_TEXT(described("-l --count=6", NULL, 9), "loud=yes");
	CHECK_EQUAL_TEXT(described("-l --count=6", NULL, 8), "");
}

/* ---- words ---- */

static int answer(void *context)
{
	struct parsed p;
	parse_with(&p, &tool, context);
	return p.verdict == OPTIONS_FAILED ? error_report(&p.error) : p.verdict == OPTIONS_DONE ? 0 : 1;
}

static const char *answered(const char *line)
{
	static struct child child;
	char copy[64];
	snprintf(copy, sizeof copy, "%s", line);
	child_run(&child, answer, copy);
	CHECK(child_exited(&child, 0));
	CHECK_EQUAL_TEXT(child.err, "");
	return child.out;
}

static void test_help(void)
{
	static const char *const lines[] = {
		"Usage: paint-it [OPTION]... FILE...\n", "paint-it: paint things\n",
		"  -l, --loud              Say more.\n",
		"      --[no-]header       Write a header. (default yes)\n",
		"  -n, --count N           How many. (1 to 1000000; default 5)\n",
		"      --any N             Any integer. (default 0)\n",
		"      --memory BYTES      Memory. (at least 0; default 0)\n",
		"  -r, --rate X            A rate. (0 to 1; default 0.5)\n",
		"      --name TEXT         A name.\n",
		"  -o, --output FILE       Where it goes. (default -)\n",
		"  -c, --colour red|green|blue\n                          Its colour. (default green)\n",
		"  -k, --cuts N,...        Where to cut. (1 to 1000; default 1,10)\n",
		"      --version           Print the version and exit.\n",
		"\nExamples:\n  paint-it -c red x\n    a red x\n", "\n  64  Wrong options or operands.\n",
	};
	const char *help = answered("--help");
	CHECK(strncmp(help, "Usage: paint-it", 15) == 0);
	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		if (!strstr(help, lines[i]))
			printf("# --help lacks: %s", lines[i]);
		CHECK(strstr(help, lines[i]) != NULL);
	}
	answered("--count=6 --help --bogus"); /* answered where it stands */
}

static void test_version(void)
{
	CHECK_EQUAL_TEXT(answered("--version"), "paint-it (recpipe) " RECPIPE_VERSION "\n");
}

static void test_man_page(void)
{
	static const char *const parts[] = {
		".TH paint\\-it 1 ", ".SH NAME\npaint\\-it \\- paint things\n", ".SH SYNOPSIS\n\\fBpaint\\-it\\fR",
		"Paints.\n.PP\n\\&.dots and \\-dashes and back\\eslashes stay.\n", ".SH OPTIONS\n",
		".TP\n\\fB\\-n\\fR, \\fB\\-\\-count\\fR \\fIN\\fR\nHow many. (1 to 1000000; default 5)\n",
		"\\fB\\-\\-[no\\-]header\\fR", "\\fIred|green|blue\\fR", ".SH EXAMPLES\n.TP\npaint\\-it \\-c red x\na red x\n",
		".SH EXIT STATUS\n", ".TP\n74\nReading or writing failed.\n", ".SH SEE ALSO\nwash(1)\n",
	};
	const char *page = answered("--man");
	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		if (!strstr(page, parts[i]))
			printf("# --man lacks: %s\n", parts[i]);
		CHECK(strstr(page, parts[i]) != NULL);
	}
}

static void test_completion(void)
{
	const char *script = answered("--completion");
	CHECK(strstr(script, "_recpipe_paint_it()") != NULL);
	CHECK(strstr(script, "--colour) COMPREPLY=($(compgen -W 'red green blue'") != NULL);
	CHECK(strstr(script, "--loud --no-header --count ") != NULL);
	CHECK(strstr(script, "complete -o filenames -F _recpipe_paint_it paint-it\n") != NULL);
}

static void test_numbers_that_are_no_options(void)
{
	struct error error = {0};
	int64_t integer = 0;
	double real = 0;
	CHECK_OK(parse_int("field 3", "2k", -1, 3000, &integer, &error), &error);
	CHECK_EQUAL_U64(integer, 2000);
	CHECK_OK(parse_int("field 3", "0", 0, 0, &integer, &error), &error);
	CHECK(parse_int("field 3", "1", 0, 0, &integer, &error) == -1); /* here 0 and 0 are bounds */
	CHECK_EQUAL_U64(integer, 0);
	error = (struct error){0};
	CHECK(parse_int("field 3", "3001", -1, 3000, &integer, &error) == -1);
	CHECK_EQUAL_TEXT(error.message, "field 3: '3001' is not an integer from -1 to 3000");
	error = (struct error){0};
	CHECK_OK(parse_real("alpha", "0.75", 0, 1, &real, &error), &error);
	CHECK(real == 0.75);
	CHECK(parse_real("alpha", "2", 0, 1, &real, &error) == -1);
	CHECK_EQUAL_TEXT(error.message, "alpha: '2' is not a number from 0 to 1");
	CHECK(real == 0.75);
}

int main(void)
{
	RUN(test_defaults_stand);
	RUN(test_every_way_to_write_a_value);
	RUN(test_flags);
	RUN(test_integers);
	RUN(test_reals);
	RUN(test_texts_and_choices);
	RUN(test_lists);
	RUN(test_lists_are_bounded);
	RUN(test_operands);
	RUN(test_given_options_are_known);
	RUN(test_unknown_options_are_named);
	RUN(test_description_holds_what_differs);
	RUN(test_help);
	RUN(test_version);
	RUN(test_man_page);
	RUN(test_completion);
	RUN(test_numbers_that_are_no_options);
	return check_done();
}
