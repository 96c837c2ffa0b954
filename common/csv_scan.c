/* The scanner of each instruction set. */
#include "csv_scan.h"

extern csv_scan_function csv_scan_avx512, csv_scan_avx2, csv_scan_portable;

csv_scan_function *csv_scan_of(enum isa isa)
{
	static csv_scan_function *const all[ISA_COUNT] = {
		[ISA_AVX512] = csv_scan_avx512, [ISA_AVX2] = csv_scan_avx2, [ISA_PORTABLE] = csv_scan_portable,
	};
	return all[isa];
}
