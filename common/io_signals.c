/* Removes temporary files when a signal ends the tool. The handler touches only a fixed table of pointers
 * and calls unlink, signal and raise: all async-signal-safe. */
#include "io_signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "io.h"

enum { CLEANUP_MAX = 64 };

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

void io_start(void)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGXCPU, SIGXFSZ};
	struct sigaction action = {.sa_handler = end_by_signal};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < COUNT_OF(ending); i++) {
		struct sigaction before;
		/* nohup's ignored SIGHUP stays ignored; an ignored SIGPIPE must not keep a filter alive. */
		bool keep = sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN &&
		            ending[i] != SIGPIPE;
		if (!keep)
			sigaction(ending[i], &action, NULL);
	}
}
