/* The scanner of each instruction set, and the room that it fills. */
#include "csv_scan.h"

#include "mem.h"

extern csv_scan_function csv_scan_avx512, csv_scan_avx2, csv_scan_portable;

csv_scan_function *csv_scan_of(enum isa isa)
{
	static csv_scan_function *const all[ISA_COUNT] = {
		[ISA_AVX512] = csv_scan_avx512, [ISA_AVX2] = csv_scan_avx2, [ISA_PORTABLE] = csv_scan_portable,
	};
	return all[isa];
}

int csv_scan_init(struct csv_scan *scan, size_t size, struct error *error)
{
	const size_t most = csv_scan_rows_max(size);
	*scan = (struct csv_scan){
		.users = mem_alloc(most, sizeof *scan->users, error),
		.items = mem_alloc(most, sizeof *scan->items, error),
		.ratings = mem_alloc(most, sizeof *scan->ratings, error),
		.times = mem_alloc(most, sizeof *scan->times, error),
		.places = mem_alloc(most, sizeof *scan->places, error),
		.odds = mem_alloc(most + 1, sizeof *scan->odds, error),
		.marks = mem_alloc(CSV_SCAN_MARKS, sizeof *scan->marks, error),
	};
	return scan->users && scan->items && scan->ratings && scan->times && scan->places && scan->odds && scan->marks ? 0
	                                                                                                              : -1;
}

void csv_scan_release(struct csv_scan *scan)
{
	mem_free(scan->users);
	mem_free(scan->items);
	mem_free(scan->ratings);
	mem_free(scan->times);
	mem_free(scan->places);
	mem_free(scan->odds);
	mem_free(scan->marks);
	*scan = (struct csv_scan){0};
}
