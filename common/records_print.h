/* Records of any kind of stream as tab-separated text: what recdump prints. */
#ifndef RECPIPE_RECORDS_PRINT_H
#define RECPIPE_RECORDS_PRINT_H

#include "compat.h"
#include "error.h"
#include "io.h"
#include "records.h"
#include "similarity.h"

/* A stream, and room for one record of its kind. The caller zeroes it and opens the reader. */
struct record_source {
	struct stream_reader reader;
	struct stream_info info;
	struct sample_shape shape;
	uint32_t *sample;
	struct list list;
	struct similarity_part part;
};

/* Reads what the metadata says of the records. CODE_DATA when it cannot be used. */
MUST_CHECK int record_source_prepare(struct record_source *source, struct error *error);
void record_source_release(struct record_source *source); /* the reader too; a zeroed one is fine */

/* A line with the names of the columns. */
MUST_CHECK int record_source_columns(const struct record_source *source, struct output *output,
                                     struct error *error);

/* Prints the next record (a line for each entry where it holds several), or reads and checks it alone when
 * `output` is NULL: 1, 0 at the end, -1. */
MUST_CHECK int record_source_print(struct record_source *source, struct output *output, struct error *error);

#endif
