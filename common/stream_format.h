/* The numbers of the container that its writer and its reader share (docs/formats.md). */
#ifndef RECPIPE_STREAM_FORMAT_H
#define RECPIPE_STREAM_FORMAT_H

#include "compat.h"

enum {
	HEADER_SIZE = 28,      /* magic, version, kind, required flags, optional flags, metadata size */
	BLOCK_HEADER_SIZE = 24,/* tag, records, size, stored size, CRC of the stored bytes, CRC of the header */
	END_SIZE = 28,         /* tag, records, blocks, CRC of all content, CRC of the end block */
};

static const unsigned char stream_magic[8] = {0x89, 'R', 'E', 'C', '\r', '\n', 0x1a, '\n'};
static const uint32_t block_tag = 0x314b4c42; /* "BLK1" */
static const uint32_t end_tag = 0x31444e45;   /* "END1" */

#endif
