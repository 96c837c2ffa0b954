/* How a tool ends, as its files and its parent see it: signals, closed pipes, full disks, standard streams. */
#include <fcntl.h>
#include <sys/resource.h>

#include "check.h"
#include "child.h"
#include "folder.h"
#include "io.h"

static int write_text(struct output *output, const char *text, struct error *error)
{
	return output_write(output, text, strlen(text), error);
}

static int full_disk(void *context)
{
	(void)context;
	struct error error = {0};
	struct output output;
	static unsigned char bytes[1 << 16];
	struct rlimit limit = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
	signal(SIGXFSZ, SIG_IGN); /* the write then fails, as on a full disk */
	io_start();
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || output_open(&output, "out", &error) < 0)
		return 1;
	for (int i = 0; i < 64 && error.code == CODE_OK; i++)
		if (output_write(&output, bytes, sizeof bytes, &error) < 0)
			break;
	if (error.code == CODE_OK && output_commit(&output, &error) == 0)
		return 2;
	output_release(&output);
	return error_report(&error);
}

static void test_a_full_disk_leaves_the_old(void)
{
	struct child child;
	put("out", "old", 3);
	child_run(&child, full_disk, NULL);
	CHECK(child_exited(&child, CODE_IO));
	CHECK(strstr(child.err, "out: cannot write: ") != NULL);
	CHECK(holds("out", "old"));
	CHECK_EQUAL_U64(files_here(), 1);
}

static int die_writing(void *context)
{
	const int *number = context;
	struct error error = {0};
	struct output one, two;
	io_start();
	if (output_open(&one, "one", &error) < 0 || output_open(&two, "two", &error) < 0 ||
	    write_text(&one, "half", &error) < 0 || output_flush(&one, &error) < 0)
		return 1;
	printf("%zu temporaries", files_here() - 1);
	fflush(stdout);
	raise(*number);
	return 2;
}

static void test_signals_leave_no_temporary(void)
{
	static int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
	put("one", "old", 3);
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		struct child child;
		child_run(&child, die_writing, &numbers[i]);
		CHECK(child_killed(&child, numbers[i]));
		CHECK_EQUAL_TEXT(child.out, "2 temporaries");
		CHECK(holds("one", "old"));
		CHECK_EQUAL_U64(files_here(), 1);
	}
}

static int hang_up_under_nohup(void *context)
{
	int number = SIGHUP;
	(void)context;
	signal(SIGHUP, SIG_IGN);
	return die_writing(&number); /* goes on, and answers 2 */
}

static void test_an_ignored_hangup_stays_ignored(void)
{
	struct child child;
	child_run(&child, hang_up_under_nohup, NULL);
	CHECK(child_exited(&child, 2));
}

/* Writes to a pipe that nobody reads, though the parent had SIGPIPE ignored and blocked. */
static int write_closed_pipe(void *context)
{
	int ends[2];
	struct error error = {0};
	struct output output, file;
	sigset_t set;
	(void)context;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	io_start();
	if (pipe(ends) != 0 || dup2(ends[1], STDOUT_FILENO) < 0 || close(ends[0]) != 0)
		return 1;
	if (output_open(&file, "out", &error) < 0 || output_open(&output, "-", &error) < 0 ||
	    write_text(&output, "x", &error) < 0 || output_commit(&output, &error) < 0)
		return error_report(&error);
	return 2;
}

static void test_a_closed_pipe_ends_quietly(void)
{
	struct child child;
	child_run(&child, write_closed_pipe, NULL);
	CHECK(child_killed(&child, SIGPIPE));
	CHECK_EQUAL_TEXT(child.err, "");
	CHECK_EQUAL_U64(files_here(), 0);
}

static int write_stdout(void *context)
{
	struct error error = {0};
	struct output output;
	io_start();
	if (output_open(&output, "-", &error) < 0 || write_text(&output, context, &error) < 0 ||
	    output_commit(&output, &error) < 0)
		return error_report(&error);
	output_release(&output);
	return 0;
}

static int write_full_stdout(void *context)
{
	int fd = open("/dev/full", O_WRONLY);
	return dup2(fd, STDOUT_FILENO) < 0 ? 1 : write_stdout(context);
}

static int write_closed_stdout(void *context)
{
	struct error error = {0};
	struct output output;
	close(STDOUT_FILENO);
	io_start();
	/* The first file opened must not become stdout. */
	if (output_open(&output, "out", &error) < 0 || output.fd <= 2)
		return 1;
	output_release(&output);
	return write_stdout(context);
}

static void test_stdout_is_checked(void)
{
	struct child child;
	char text[] = "data";
	child_run(&child, write_stdout, text);
	CHECK(child_exited(&child, 0));
	CHECK_EQUAL_TEXT(child.out, "data");
	child_run(&child, write_full_stdout, text);
	CHECK(child_exited(&child, CODE_IO));
	CHECK(strstr(child.err, "(stdout): cannot write: No space left on device") != NULL);
	child_run(&child, write_closed_stdout, text);
	CHECK(child_exited(&child, CODE_IO));
	CHECK(strstr(child.err, "(stdout): ") != NULL);
}

static int read_stdin(void *context)
{
	struct error error = {0};
	struct input input;
	char text[16];
	const char *path = context;
	close(STDIN_FILENO);
	if (path && open(path, O_RDONLY) != STDIN_FILENO)
		return 1;
	io_start();
	if (input_open(&input, "-", &error) < 0)
		return error_report(&error);
	ptrdiff_t got = input_read(&input, text, sizeof text, &error);
	bool named = strcmp(input.name, "(stdin)") == 0;
	input_release(&input);
	return got < 0 ? error_report(&error) : got == 4 && named && memcmp(text, "data", 4) == 0 ? 0 : 2;
}

static void test_stdin_is_read_and_checked(void)
{
	struct child child;
	char name[] = "in";
	put("in", "data", 4);
	child_run(&child, read_stdin, name);
	CHECK(child_exited(&child, 0));
	child_run(&child, read_stdin, NULL);
	CHECK(child_exited(&child, CODE_IO));
	CHECK(strstr(child.err, "(stdin): cannot read") != NULL);
	char folder[] = ".";
	child_run(&child, read_stdin, folder);
	CHECK(child_exited(&child, CODE_NO_INPUT));
}

int main(void)
{
	RUN_IN_FOLDER(test_a_full_disk_leaves_the_old);
	RUN_IN_FOLDER(test_signals_leave_no_temporary);
	RUN_IN_FOLDER(test_an_ignored_hangup_stays_ignored);
	RUN_IN_FOLDER(test_a_closed_pipe_ends_quietly);
	RUN_IN_FOLDER(test_stdout_is_checked);
	RUN_IN_FOLDER(test_stdin_is_read_and_checked);
	return check_done();
}
