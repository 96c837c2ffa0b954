/* stopwatch FILE COMMAND…: runs the command and writes `seconds cpu_seconds peak_bytes` to FILE; its exit code is
 * the command's. The peak is the kernel's own account of the child (getrusage), so nothing is polled. */
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"

static double of_timeval(struct timeval time)
{
	return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static int write_account(const char *path, double seconds, const struct rusage *usage)
{
	FILE *file = fopen(path, "w");
	if (!file)
		return -1;
	fprintf(file, "%.6f %.6f %lld\n", seconds, of_timeval(usage->ru_utime) + of_timeval(usage->ru_stime),
	        (long long)usage->ru_maxrss * 1024);
	return fclose(file);
}

int main(int argc, char **argv)
{
	struct rusage usage;
	int status;
	if (argc < 3) {
		fprintf(stderr, "stopwatch: usage: stopwatch FILE COMMAND...\n");
		return CODE_USAGE;
	}
	double begin = clock_seconds();
	pid_t child = fork();
	if (child < 0) {
		fprintf(stderr, "stopwatch: cannot fork: %s\n", strerror(errno));
		return CODE_SYSTEM;
	}
	if (child == 0) {
		execvp(argv[2], argv + 2);
		fprintf(stderr, "stopwatch: %s: %s\n", argv[2], strerror(errno));
		_exit(CODE_NO_INPUT);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return CODE_SYSTEM;
	double seconds = clock_seconds() - begin;
	getrusage(RUSAGE_CHILDREN, &usage);
	if (write_account(argv[1], seconds, &usage) != 0) {
		fprintf(stderr, "stopwatch: %s: cannot be written\n", argv[1]);
		return CODE_CANNOT_CREATE;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
