/* Fields going out: quoted only where reading them back would otherwise give something else. */
#include "csv.h"

bool csv_is_plain(const char *text, size_t length, char delimiter)
{
	bool plain = length == 0 || (text[0] != ' ' && text[length - 1] != ' ');
	for (size_t i = 0; plain && i < length; i++)
		plain = text[i] != delimiter && text[i] != '"' && text[i] != '\n' && text[i] != '\r';
	return plain;
}

char *csv_put_field(char *to, const char *text, size_t length, char delimiter)
{
	if (csv_is_plain(text, length, delimiter)) {
		if (length > 0)
			memcpy(to, text, length);
		return to + length;
	}
	*to++ = '"';
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"')
			*to++ = '"';
		*to++ = text[i];
	}
	*to++ = '"';
	return to;
}

int csv_write_field(struct output *output, const char *text, size_t length, char delimiter, struct error *error)
{
	if (csv_is_plain(text, length, delimiter))
		return output_write(output, text, length, error);
	if (output_write(output, "\"", 1, error) < 0)
		return -1;
	for (size_t i = 0; i < length; i++)
		if ((text[i] == '"' && output_write(output, "\"", 1, error) < 0) ||
		    output_write(output, text + i, 1, error) < 0)
			return -1;
	return output_write(output, "\"", 1, error);
}
