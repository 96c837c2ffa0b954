#!/usr/bin/env bats
# make bench-gpu where there is no device: a dry run on the emulated one, and the roofline. No figure is judged.
# shellcheck disable=SC2154  # $stderr is set by run
load helpers

setup_file() {
	bench_programs
}

setup() {
	not_sanitized
	need jq
	fresh
	export BENCH_PYTHON='' BENCH_RUNS=2
	BUILT=$(cd "$(dirname "$BIN")" && pwd)
}

emulated() {
	grep -qw fma /proc/cpuinfo || skip "the emulated device needs a processor with fused multiply-adds"
	[ -e "$BUILT/emulated/recpipe_cuda.so" ] || skip "the emulated device was not built"
}

dry() { "$TOP/tests/bench/gpu_run" -n -b "$BUILT" -o "$PWD/dry.tsv" "$@"; }

value() { # NAME FILE
	awk -F '\t' -v name="$1" '$1 == name { print $2 }' "$2"
}

@test "a dry run: training, a ranking, and from CSV to HR@10" {
	emulated
	expect 0 dry '^gpu\.(train\.ml1m\.(b1k|b1m\.bf16)|score\.ml1m|end_to_end)'
	[ "$(head -n 1 dry.tsv)" = $'name\tvalue\tunit\tpeer\tpeer_value\tratio' ]
	for name in gpu.train.ml1m.b1k.samples_per_s gpu.train.ml1m.b1k.samples_per_s.wall gpu.train.ml1m.b1k.samples_per_s.busy \
		gpu.train.ml1m.b1k.samples_per_s.flop gpu.score.ml1m.pairs_per_s gpu.score.ml1m.pairs_per_s.busy \
		gpu.end_to_end.ml20m.train-mlp.seconds gpu.end_to_end.ml20m.seconds gpu.end_to_end.ml20m.hr10; do
		[ "$(awk -F '\t' -v name="$name" '$1 == name && $2 > 0' dry.tsv | wc -l)" -eq 1 ]
	done
	jq -e '.machine.dry_run and (.rows[] | select(.name == "gpu.score.ml1m.pairs_per_s") | .runs | length == 2)' dry.json
	grep -q '^A dry run' dry.txt
	grep -q '^gpu.train.ml1m.b1k.samples_per_s .*emulated\|^cuda:0, emulated' dry.txt
	# Rows and peers that there are none of are told, with the reason.
	grep -q 'BENCH_PYTHON names no Python that has torch: PyTorch' dry.txt
	grep -q '^  .*: .*ceiling.gpu' dry.txt
	! grep -F "$PWD" dry.tsv dry.json dry.txt
}

@test "a pattern that names no row is refused" {
	emulated
	expect 64 dry no.such.row
	[ ! -e dry.tsv ]
	expect 64 "$TOP/tests/bench/gpu_run" -b "$BUILT" -d cpu -o "$PWD/dry.tsv"
}

# row NAME PRECISION MATRIX PLAIN BYTES VALUE…: raw values of one
row() {
	local name=$1
	printf '%s\tfact\tprecision\t-\t%s\n%s\tfact\tmatrix_flop\t-\t%s\n' "$name" "$2" "$name" "$3"
	printf '%s\tfact\tplain_flop\t-\t%s\n%s\tfact\tbytes\t-\t%s\n' "$name" "$4" "$name" "$5"
	shift 5
	printf "$name\tours\tsamples/s\thigher\t%s\n" "$@"
}

@test "the roofline: the larger of the times, each at the best ceiling of the run" {
	{
		printf 'ceiling.gpu.%s\tours\tx\thigher\t%s\n' fma.fp32 40 fma.fp32 50 mma.tf32 400 memory.copy 100 memory.copy 90
		row products fp32 800 200 10 1e7 2e7 3e7   # 1000 / 50e9: 50e6 a second
		row tensor tf32 800 200 10 1e8             # 800 / 400e9 + 200 / 50e9: 166.7e6
		row moves fp32 100 0 1000 5e7              # 1000 / 100e9: 100e6, where 100 / 50e9 would give 500e6
		row lacks bf16 800 200 10 1                # no such ceiling was measured
		printf 'products\tpeer\tpeer %s\t-\t%s\n' one 1e7 two 4e7
		printf 'absent\tskip\tno device\t-\t-\n'
	} >raw
	"$TOP/tests/bench/gpu_table" -l raw >lines
	[ "$(awk -F '\t' '$2 == "ceiling" { print $1, $3, $5 }' lines)" = "products ceiling.gpu.fma.fp32 1000000
tensor ceiling.gpu.fma.fp32 3333333.33
moves ceiling.gpu.memory.copy 1000000" ]
	[ "$(awk -F '\t' '$1 == "products.flop" { print $5 }' lines)" = 2e+10 ]
	[ "$(awk -F '\t' '$1 == "moves.bytes" { print $5 }' lines)" = 5e+10 ]
	cat lines >>raw
	"$TOP/tests/bench/gpu_table" raw >text
	grep -q '^products .* 20M samples/s 10M .. 30M .*fma.fp32 .*50M   40.0%  0.5 times 40M of peer two' text
	grep -q '^moves .*memory.copy .*100M   50.0%' text
	grep -q '^tensor .*60.0%' text
	grep -q '^  no device: absent' text
	! grep -q 'products.flop' text
	echo '{}' >machine.json
	"$TOP/tests/bench/table" raw machine.json out >printed
	[ "$(value products.of_ceiling out.tsv)" = 0.4 ]
	[ "$(value tensor out.tsv)" = 1e+08 ]
}
