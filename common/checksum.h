/* CRC-32 as zlib and gzip have it (polynomial 0xEDB88320, reflected, first and last inverted), faster. */
#ifndef RECPIPE_CHECKSUM_H
#define RECPIPE_CHECKSUM_H

#include "compat.h"
#include "isa.h"

uint32_t checksum_crc32(const void *bytes, size_t size);

/* The same by one instruction set, for tests. */
typedef uint32_t checksum_function(const unsigned char *bytes, size_t size);
checksum_function *checksum_of(enum isa isa);

#endif
