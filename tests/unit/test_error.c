/* Errors: the first cause is kept, messages are one line with the tool's name before them. */
#include "error.h"

#include <errno.h>

#include "check.h"
#include "child.h"

static void test_the_first_cause_is_kept(void)
{
	struct error error = {0};
	CHECK(error_set(&error, CODE_DATA, "line %d: %s", 7, "bad") == -1);
	CHECK(error_set(&error, CODE_IO, "later") == -1);
	CHECK(error_set_errno(&error, CODE_IO, EIO, "later still") == -1);
	CHECK_EQUAL_U64(error.code, CODE_DATA);
	CHECK_EQUAL_TEXT(error.message, "line 7: bad");
}

static void test_errno_is_told(void)
{
	struct error error = {0};
	CHECK(error_set_errno(&error, CODE_NO_INPUT, ENOENT, "%s: cannot open", "a.csv") == -1);
	CHECK_EQUAL_U64(error.code, CODE_NO_INPUT);
	CHECK_EQUAL_TEXT(error.message, "a.csv: cannot open: No such file or directory");
}

static void test_prefixes_stack_up(void)
{
	struct error error = {0};
	error_set(&error, CODE_DATA, "no such column");
	CHECK(error_prefix(&error, "line %d", 1) == -1);
	CHECK(error_prefix(&error, "%s", "a.csv") == -1);
	CHECK_EQUAL_TEXT(error.message, "a.csv: line 1: no such column");
	CHECK_EQUAL_U64(error.code, CODE_DATA);
}

static void test_long_messages_are_cut(void)
{
	struct error error = {0};
	char text[4096];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	error_set(&error, CODE_DATA, "%s", text);
	CHECK_EQUAL_U64(strlen(error.message), sizeof error.message - 1);
	error_prefix(&error, "%s", text);
	CHECK(strlen(error.message) < sizeof error.message);
	CHECK(strstr(error.message, "x: x") != NULL);
	error = (struct error){0};
	error_set_errno(&error, CODE_DATA, EIO, "%s", text);
	CHECK_EQUAL_U64(strlen(error.message), sizeof error.message - 1);
}

static int report(void *context)
{
	return error_report(context);
}

static int take_note(void *context)
{
	note("%s: %d rows", (const char *)context, 3);
	return 0;
}

static void test_report_says_the_tool_and_answers_the_code(void)
{
	struct child child;
	struct error error = {0};
	error_set(&error, CODE_CANNOT_CREATE, "out/x: cannot create");
	child_run(&child, report, &error);
	CHECK(child_exited(&child, CODE_CANNOT_CREATE));
	CHECK_EQUAL_TEXT(child.out, "");
	CHECK_EQUAL_TEXT(child.err, "test_error: out/x: cannot create\n");
	struct error none = {0};
	child_run(&child, report, &none);
	CHECK(child_exited(&child, CODE_BUG)); /* a failure without a cause is ours to mend */
}

static void test_note_goes_to_stderr(void)
{
	struct child child;
	char name[] = "a.csv";
	child_run(&child, take_note, name);
	CHECK_EQUAL_TEXT(child.out, "");
	CHECK_EQUAL_TEXT(child.err, "test_error: a.csv: 3 rows\n");
}

int main(void)
{
	RUN(test_the_first_cause_is_kept);
	RUN(test_errno_is_told);
	RUN(test_prefixes_stack_up);
	RUN(test_long_messages_are_cut);
	RUN(test_report_says_the_tool_and_answers_the_code);
	RUN(test_note_goes_to_stderr);
	return check_done();
}
