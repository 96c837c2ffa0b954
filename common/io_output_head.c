/* Another beginning for a file that is written already. */
#include <errno.h>
#include <unistd.h>

#include "io.h"
#include "io_internal.h"

static int failed(const struct output *output, struct error *error)
{
	return error_set_errno(error, CODE_IO, errno, "%s: cannot write", output->path);
}

static int read_at(const struct output *output, unsigned char *to, size_t size, uint64_t offset, struct error *error)
{
	while (size > 0) {
		const ptrdiff_t got = pread(output->fd, to, size, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return error_set_errno(error, CODE_IO, got < 0 ? errno : EIO, "%s: cannot read back", output->path);
		to += got;
		size -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static int write_at(const struct output *output, const unsigned char *from, size_t size, uint64_t offset,
                    struct error *error)
{
	while (size > 0) {
		const ptrdiff_t wrote = pwrite(output->fd, from, size, (off_t)offset);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return failed(output, error);
		from += wrote;
		size -= (size_t)wrote;
		offset += (uint64_t)wrote;
	}
	return 0;
}

/* Moves what begins at `from` so that it begins at `to`, through the output's buffer: the end first when it goes up. */
static int move_rest(const struct output *output, uint64_t from, uint64_t to, struct error *error)
{
	const uint64_t size = output->written - from;
	for (uint64_t done = 0; done < size;) {
		const uint64_t left = size - done;
		const size_t some = left < OUTPUT_BUFFER ? (size_t)left : OUTPUT_BUFFER;
		const uint64_t at = to > from ? left - some : done;
		if (read_at(output, output->buffer, some, from + at, error) < 0 ||
		    write_at(output, output->buffer, some, to + at, error) < 0)
			return -1;
		done += some;
	}
	return 0;
}

int output_replace_head(struct output *output, size_t old_size, const void *bytes, size_t size, struct error *error)
{
	if (output->direct || old_size > output->written)
		return error_set(error, CODE_BUG, "%s: its beginning cannot be replaced", output->path);
	if (output_flush(output, error) < 0)
		return -1;
	if (size != old_size && move_rest(output, old_size, size, error) < 0)
		return -1;
	output->written += size;
	output->written -= old_size;
	if (write_at(output, bytes, size, 0, error) < 0)
		return -1;
	if (ftruncate(output->fd, (off_t)output->written) != 0 || lseek(output->fd, 0, SEEK_END) < 0)
		return failed(output, error);
	return 0;
}
