/* See row_errors.h. */
#include "row_errors.h"

/* The row with everything that would break a TSV line escaped: backslash, control characters. */
static int write_escaped(struct output *output, const struct csv_field *row, struct error *error)
{
	for (size_t i = 0; i < row->length; i++) {
		const unsigned char byte = (unsigned char)row->text[i];
		int result = byte == '\\' ? output_write(output, "\\\\", 2, error)
		             : byte < 0x20 || byte == 0x7f ? output_print(output, error, "\\x%02x", byte)
		                                           : output_write(output, row->text + i, 1, error);
		if (result < 0)
			return -1;
	}
	return output_write(output, "\n", 1, error);
}

int row_errors_add(struct row_errors *errors, const struct csv_reader *reader, const char *reason,
                   struct error *error)
{
	const unsigned long long line = reader->line, offset = reader->offset;
	errors->count++;
	if (errors->rejects && (output_print(errors->rejects, error, "%llu\t%llu\t%s\t", line, offset, reason) < 0 ||
	                        write_escaped(errors->rejects, &reader->raw, error) < 0))
		return -1;
	if (errors->most == 0)
		return error_set(error, CODE_DATA, "%s:%llu: %s", reader->input.name, line, reason);
	if (errors->most > 0 && errors->count > (uint64_t)errors->most)
		return error_set(error, CODE_DATA, "%s:%llu: %s; more than --max-errors %lld rows cannot be read",
		                 reader->input.name, line, reason, (long long)errors->most);
	if (errors->shown < 0 || errors->count <= (uint64_t)errors->shown)
		note("%s:%llu: %s; row skipped", reader->input.name, line, reason);
	return 0;
}
