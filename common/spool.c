/* The nameless temporary file: O_TMPFILE where the file system has it, else a file that loses its name as
 * soon as it is open. Buffered both ways; reads and writes are completed or fail with CODE_IO. */
#include "compat.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "mem.h"
#include "spool.h"

enum { SPOOL_BUFFER = 1 << 18 };

static int open_nameless(const char *folder, struct error *error)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	size_t size = strlen(folder) + sizeof "/.spool-XXXXXX";
	char *path = mem_alloc(size, 1, error);
	if (!path)
		return -1;
	(void)snprintf(path, size, "%s/.spool-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		error_set_errno(error, CODE_CANNOT_CREATE, errno, "%s: cannot make a temporary file", folder);
	else
		(void)unlink(path);
	mem_free(path);
	return fd;
}

int spool_open(struct spool *spool, const char *folder, struct error *error)
{
	*spool = (struct spool){ .fd = -1 };
	spool->buffer = mem_alloc(SPOOL_BUFFER, 1, error);
	if (spool->buffer)
		spool->fd = open_nameless(folder, error);
	if (spool->fd >= 0)
		return 0;
	spool_release(spool);
	return -1;
}

static int write_out(struct spool *spool, struct error *error)
{
	size_t done = 0;
	while (done < spool->used) {
		ssize_t wrote = write(spool->fd, spool->buffer + done, spool->used - done);
		if (wrote < 0 && errno != EINTR)
			return error_set_errno(error, CODE_IO, errno, "writing the temporary spool file");
		done += wrote > 0 ? (size_t)wrote : 0;
	}
	spool->left += done;
	spool->used = 0;
	return 0;
}

unsigned char *spool_reserve(struct spool *spool, size_t size, struct error *error)
{
	if (spool->used + size > SPOOL_BUFFER && write_out(spool, error))
		return NULL;
	unsigned char *place = spool->buffer + spool->used;
	spool->used += size;
	return place;
}

int spool_rewind(struct spool *spool, struct error *error)
{
	if (write_out(spool, error))
		return -1;
	if (lseek(spool->fd, 0, SEEK_SET) < 0)
		return error_set_errno(error, CODE_IO, errno, "rewinding the temporary spool file");
	spool->reading = true;
	return 0;
}

/* Moves what is unread to the front and fills the buffer behind it. */
static int read_in(struct spool *spool, struct error *error)
{
	spool->used -= spool->position;
	memmove(spool->buffer, spool->buffer + spool->position, spool->used);
	spool->position = 0;
	while (spool->used < SPOOL_BUFFER && spool->left > 0) {
		ssize_t got = read(spool->fd, spool->buffer + spool->used, SPOOL_BUFFER - spool->used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(error, CODE_IO, errno, "reading the temporary spool file");
		if (got == 0)
			return error_set(error, CODE_IO, "the temporary spool file was cut by someone");
		spool->used += (size_t)got;
		spool->left -= (uint64_t)got;
	}
	return 0;
}

const unsigned char *spool_take(struct spool *spool, size_t size, struct error *error)
{
	if (!spool->reading) {
		error_set(error, CODE_BUG, "a spool is read before it was rewound");
		return NULL;
	}
	if (spool->used - spool->position < size && read_in(spool, error))
		return NULL;
	if (spool->used - spool->position < size) {
		error_set(error, CODE_BUG, "a spool is read beyond its end");
		return NULL;
	}
	const unsigned char *bytes = spool->buffer + spool->position;
	spool->position += size;
	return bytes;
}

int spool_restart(struct spool *spool, struct error *error)
{
	if (ftruncate(spool->fd, 0) != 0 || lseek(spool->fd, 0, SEEK_SET) < 0)
		return error_set_errno(error, CODE_IO, errno, "emptying the temporary spool file");
	spool->used = spool->position = 0;
	spool->left = 0;
	spool->reading = false;
	return 0;
}

void spool_release(struct spool *spool)
{
	if (spool->fd >= 0)
		(void)close(spool->fd);
	mem_free(spool->buffer);
	*spool = (struct spool){ .fd = -1 };
}
