/* Attributes and banned functions, included first by every source file.
 *
 * Everything in this project is C11 with POSIX.1-2008; headers shared with nvcc (C++) stay in the
 * common subset, hence RESTRICT. Standard headers are included before the bans below so that only our
 * own uses are caught. */
#ifndef RECPIPE_COMPAT_H
#define RECPIPE_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECPIPE_VERSION "0.1.0"

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define UNUSED __attribute__((unused))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#ifdef __cplusplus
#define RESTRICT __restrict__
#else
#define RESTRICT restrict
#include <assert.h> /* static_assert only: input is never judged by assert() */
#endif

/* Functions that cannot be used safely or reproducibly: each has a better one here (options.h parses
 * numbers, rng.h draws them, snprintf bounds its output). */
#ifndef __cplusplus
#define BANNED(function) function##_is_banned_in_recpipe
#undef atoi
#define atoi(x) BANNED(atoi)
#undef atof
#define atof(x) BANNED(atof)
#undef sprintf
#define sprintf(...) BANNED(sprintf)
#undef strcpy
#define strcpy(a, b) BANNED(strcpy)
#undef strcat
#define strcat(a, b) BANNED(strcat)
#undef strtok
#define strtok(a, b) BANNED(strtok)
#undef rand
#define rand() BANNED(rand)
#undef srand
#define srand(x) BANNED(srand)
#endif

#endif
