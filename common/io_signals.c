/* Removes temporary files when a signal ends the tool. The handler touches only a fixed table of pointers
 * and calls unlink, signal and raise: all async-signal-safe. */
#include "io_signals.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "io.h"

enum { CLEANUP_MAX = 64 };

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGXCPU, SIGXFSZ};

static const char *_Atomic cleanup_paths[CLEANUP_MAX];

int cleanup_register(const char *path)
{
	for (int slot = 0; slot < CLEANUP_MAX; slot++) {
		const char *empty = NULL;
		if (atomic_compare_exchange_strong(&cleanup_paths[slot], &empty, path))
			return slot;
	}
	return -1;
}

void cleanup_forget(int slot)
{
	if (slot >= 0)
		atomic_store(&cleanup_paths[slot], NULL);
}

void signals_hold(sigset_t *before)
{
	sigset_t held;
	sigemptyset(&held);
	for (size_t i = 0; i < COUNT_OF(ending); i++)
		sigaddset(&held, ending[i]);
	pthread_sigmask(SIG_BLOCK, &held, before);
}

void signals_restore(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void end_by_signal(int number)
{
	for (int slot = 0; slot < CLEANUP_MAX; slot++) {
		const char *path = atomic_load(&cleanup_paths[slot]);
		if (path)
			unlink(path);
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* A tool started with stdin, stdout or stderr closed must not open a file under their numbers: they are
 * filled the wrong way round, so that using them fails. */
static void fill_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

void io_start(void)
{
	sigset_t pipe_only;
	fill_standard();
	struct sigaction action = {.sa_handler = end_by_signal};
	sigemptyset(&action.sa_mask);
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE); /* a parent may have blocked it, and it would never end us */
	pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
	for (size_t i = 0; i < COUNT_OF(ending); i++) {
		struct sigaction before;
		/* nohup's ignored SIGHUP stays ignored; an ignored SIGPIPE must not keep a filter alive. */
		bool keep = sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN &&
		            ending[i] != SIGPIPE;
		if (!keep)
			sigaction(ending[i], &action, NULL);
	}
}
