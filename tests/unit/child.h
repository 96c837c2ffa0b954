/* Runs a function in a child process, with what it writes caught: for what ends a process or prints. */
#ifndef RECPIPE_CHILD_H
#define RECPIPE_CHILD_H

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compat.h"

struct child {
	char out[1 << 15], err[1 << 13]; /* what it wrote, cut to fit, NUL behind */
	int status;                      /* of waitpid */
};

static inline void child_slurp(int fd, char *text, size_t size)
{
	ptrdiff_t got = pread(fd, text, size - 1, 0);
	text[got > 0 ? got : 0] = '\0';
	close(fd);
}

static inline int child_file(void)
{
	FILE *file = tmpfile();
	int fd = file ? dup(fileno(file)) : -1;
	if (file)
		fclose(file);
	return fd;
}

/* The child ends with the function's result as its exit code. */
static inline void child_run(struct child *child, int (*work)(void *context), void *context)
{
	int out = child_file(), err = child_file();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		int code = work(context);
		fflush(NULL);
		_exit(code);
	}
	child->status = -1;
	if (pid > 0)
		waitpid(pid, &child->status, 0);
	child_slurp(out, child->out, sizeof child->out);
	child_slurp(err, child->err, sizeof child->err);
}

static inline bool child_exited(const struct child *child, int code)
{
	return child->status != -1 && WIFEXITED(child->status) && WEXITSTATUS(child->status) == code;
}

static inline bool child_killed(const struct child *child, int signal_number)
{
	return child->status != -1 && WIFSIGNALED(child->status) && WTERMSIG(child->status) == signal_number;
}

#endif
