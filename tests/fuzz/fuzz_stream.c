/* libFuzzer target: any bytes as a stream of any kind, through the readers that the tools use. Checksums and
 * metadata hide most of a reader from random changes, so the input is read in three ways: as it is; with the
 * checksums that can be found in it made to agree; and as the payload of one block of an else whole stream. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "idmap.h"
#include "mem.h"
#include "records.h"
#include "similarity.h"
#include "stream_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_records(struct stream_reader *reader, const struct stream_info *info, struct error *error)
{
	struct sample_shape shape = {0};
	struct interaction interaction;
	struct list list = {0};
	struct similarity_part part = {0};
	uint32_t user, *items = NULL;
	int more = 1;
	if (reader->kind == STREAM_SAMPLES) {
		more = sample_shape_read(reader, &shape, error) < 0 ? -1 : 1;
		items = mem_alloc((size_t)shape.ratio + 1, sizeof *items, error);
	}
	while (more > 0) {
		if (reader->kind == STREAM_INTERACTIONS)
			more = interaction_read(reader, info, &interaction, error);
		else if (reader->kind == STREAM_SAMPLES)
			more = items ? sample_read(reader, info, shape.ratio, &user, items, error) : -1;
		else if (reader->kind == STREAM_SIMILARITY)
			more = similarity_part_read(reader, info, &part, error);
		else
			more = list_read(reader, info, &list, error);
	}
	mem_free(items);
	list_release(&list);
	similarity_part_release(&part);
}

static void read_stream(const char *path)
{
	struct stream_reader reader;
	struct stream_info info = {0};
	struct idmap map = {0};
	struct error error = {0};
	if (stream_reader_open(&reader, path, 0, &error) == 0) {
		if (reader.kind == STREAM_IDS) {
			if (idmap_read_stream(&map, &reader, &error) == 0)
				idmap_release(&map);
		} else if (records_info(&reader, &info, &error) == 0) {
			read_records(&reader, &info, &error);
		}
	}
	stream_info_release(&info);
	stream_reader_release(&reader);
}

/* Makes the checksums of `bytes` agree, as far as its structure can be followed. */
static void seal(unsigned char *bytes, size_t size)
{
	if (size < HEADER_SIZE || memcmp(bytes, stream_magic, sizeof stream_magic) != 0)
		return;
	const size_t metadata = get_u32(bytes + 24);
	if (metadata > size - HEADER_SIZE || size - HEADER_SIZE - metadata < 4)
		return;
	size_t at = HEADER_SIZE + metadata;
	put_u32(bytes + at, (uint32_t)crc32(0, bytes, (uInt)at));
	at += 4;
	uLong content = 0;
	while (size - at >= BLOCK_HEADER_SIZE && get_u32(bytes + at) == block_tag) {
		unsigned char *block = bytes + at;
		const size_t stored = get_u32(block + 12);
		const size_t there = stored < size - at - BLOCK_HEADER_SIZE ? stored : size - at - BLOCK_HEADER_SIZE;
		put_u32(block + 16, (uint32_t)crc32(0, block + BLOCK_HEADER_SIZE, (uInt)there));
		put_u32(block + 20, (uint32_t)crc32(0, block, 20));
		content = crc32(content, block + BLOCK_HEADER_SIZE, (uInt)there);
		at += BLOCK_HEADER_SIZE + there;
	}
	if (size - at >= END_SIZE && get_u32(bytes + at) == end_tag) {
		put_u32(bytes + at + 20, (uint32_t)content); /* of uncompressed blocks: they are what a fuzzer grows */
		put_u32(bytes + at + 24, (uint32_t)crc32(0, bytes + at, 24));
	}
}

/* A whole stream but for its records: the first 8 bytes of `data` choose kind, records and unpacked size, the
 * rest is the block's payload. Returns the size; `to` has room for WRAPPING more bytes than `data`. */
enum { WRAPPING = 512 };

static size_t wrap(const uint8_t *data, size_t size, unsigned char *to)
{
	static const char metadata[] =
		"{\"users\":{\"count\":3,\"digest\":\"\"},\"items\":{\"count\":5,\"digest\":\"\"},\"ratio\":2,"
		"\"epochs\":1,\"positives\":1,\"count\":1,\"digest\":\"0123456789abcdef0123456789abcdef\"}";
	const size_t payload = size - 8, block = HEADER_SIZE + sizeof metadata - 1 + 4;
	const size_t end = block + BLOCK_HEADER_SIZE + payload;
	memset(to, 0, size + WRAPPING);
	memcpy(to, stream_magic, sizeof stream_magic);
	put_u32(to + 8, STREAM_VERSION);
	put_u32(to + 12, data[0] % 5 + 1u);
	put_u32(to + 24, sizeof metadata - 1);
	memcpy(to + HEADER_SIZE, metadata, sizeof metadata - 1);
	put_u32(to + block, block_tag);
	put_u32(to + block + 4, get_u32(data) >> 8);
	put_u32(to + block + 8, data[0] < 128 ? (uint32_t)payload : get_u32(data + 4));
	put_u32(to + block + 12, (uint32_t)payload);
	memcpy(to + block + BLOCK_HEADER_SIZE, data + 8, payload);
	put_u32(to + end, end_tag);
	put_u64(to + end + 4, get_u32(data) >> 8);
	put_u64(to + end + 12, 1);
	seal(to, end + END_SIZE);
	return end + END_SIZE;
}

static void read_bytes(const unsigned char *bytes, size_t size)
{
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, bytes, size) != (ptrdiff_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	read_stream(path);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *copy = malloc(size + WRAPPING);
	if (!copy)
		abort();
	read_bytes(data, size);
	memcpy(copy, data, size);
	seal(copy, size);
	read_bytes(copy, size);
	if (size > 8)
		read_bytes(copy, wrap(data, size, copy));
	free(copy);
	return 0;
}
