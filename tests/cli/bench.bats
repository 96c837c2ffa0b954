#!/usr/bin/env bats
# make bench on tiny sizes: that every row is there and the files have their shape. No figure is judged.

load helpers

setup_file() {
	bench_programs
}

setup() {
	not_sanitized # figures of sanitized programs mean nothing, and make would build others
	need jq
	fresh
	export BENCH_SMALL=1 BENCH_RUNS=2 BENCH_PYTHON='' BENCH_THREADS=2
	BUILT=$(cd "$(dirname "$BIN")" && pwd)
}

bench() { "$TOP/tests/bench/run" -b "$BUILT" -o "$PWD/bench.tsv" "$@"; }

@test "the table, the JSON and the text have every row asked for, and nothing of the machine's paths" {
	export RECPIPE_DATA=$PWD/nowhere
	expect 0 bench '^(score.ml1m|product.48x64x64|csv|ingest|synth)'
	[[ $stderr == *"no PyTorch"* ]]
	[ "$(head -n 1 bench.tsv)" = $'name\tvalue\tunit\tpeer\tpeer_value\tratio' ]
	[ "$(awk -F '\t' 'NF != 6 || (NR > 1 && $2 !~ /^[0-9.e+-]+$/)' bench.tsv)" = "" ]
	for name in ceiling.fma.portable.t1 ceiling.memory.read.t2 ceiling.read score.ml1m.pairs_per_s \
		product.48x64x64.gflops csv.mb_per_s ingest.20m.mb_per_s; do
		[ "$(awk -F '\t' -v name="$name" '$1 == name && $2 > 0' bench.tsv | wc -l)" -eq 1 ]
		grep -q "^$name " bench.txt
	done
	jq -e '.machine.cpu and .machine.compiler and .machine.threads == 2' bench.json
	jq -e '.rows[] | select(.name == "score.ml1m.pairs_per_s") | (.runs | length) == 2 and .ceiling.share > 0 and
		.min <= .median and .median <= .max and .better == "higher" and .unit == "pairs/s"' bench.json
	[ "$(jq -r '.rows[].name' bench.json | sort | uniq -d)" = "" ]
	! grep -F "$PWD" bench.tsv bench.json bench.txt
}

@test "training rows; rows without their data set are skipped and told" {
	need_data ncf-ml-1m
	expect 0 bench '^(engine.ml1m.b1280|train.ml1m.(b16384|samples)|negatives|stream|metrics)'
	for name in engine.ml1m.b1280.t2.samples_per_s engine.ml1m.b1280.t2.portable.samples_per_s \
		train.ml1m.samples_per_s negatives.t1.per_s stream.read.mb_per_s metrics.mb_per_s; do
		[ "$(awk -F '\t' -v name="$name" '$1 == name && $2 > 0' bench.tsv | wc -l)" -eq 1 ]
	done
	RECPIPE_DATA=$PWD/nowhere expect 0 bench '^(train.ml1m|product.48x64x64)'
	if [ ! -d "$TOP/data/cache/ncf-ml-1m" ]; then
		[[ $stderr == *"no ncf-ml-1m"* ]]
		! grep -q ^train bench.tsv
	fi
}

@test "a pattern that names no row is refused" {
	expect 64 bench no.such.row
	[ ! -e bench.tsv ]
}

@test "bench-counts: the same counts twice" {
	need valgrind
	rows='counts.(csv|negatives|score.avx2)'
	expect 0 "$TOP/tests/bench/counts" -b "$BUILT" -o "$PWD/first.tsv" "$rows"
	expect 0 "$TOP/tests/bench/counts" -b "$BUILT" -o "$PWD/second.tsv" "$rows"
	same first.tsv second.tsv
	[ "$(awk -F '\t' 'NR > 1 && $2 > 1 && $3 ~ /^instructions/' first.tsv | wc -l)" -ge 2 ]
	expect 0 "$TOP/tests/bench/compare" -t 0 first.json second.json
	expect 64 "$TOP/tests/bench/counts" -b "$BUILT" -o "$PWD/none.tsv" no.such.row
	[ ! -e none.tsv ]
}

@test "bench-scale: a row for each size and stage, exponents, a plot where gnuplot is" {
	SCALE_BATCH=4096 expect 0 "$TOP/tests/bench/scale" -b "$BUILT" -o scale.tsv 0.01 0.02
	[ "$(head -n 1 scale.tsv)" = $'ratings\tusers\titems\tstage\tseconds\tpeak_bytes' ]
	[ "$(awk -F '\t' 'NR > 1 && NF == 6 && $5 > 0 && $6 > 1e6' scale.tsv | wc -l)" -eq 16 ]
	[ "$(cut -f 1 scale.tsv | sort -un | tail -n 2 | tr '\n' ' ')" = '10000 20000 ' ]
	[ "$(grep -c '^all ' scale.txt)" -eq 2 ]
	if command -v gnuplot; then grep -q '</svg>' scale.svg; fi
	mv scale.txt measured.txt
	expect 0 "$TOP/tests/bench/scale" -o scale.tsv -p
	cmp scale.txt measured.txt
	fails 64 "expected millions" "$TOP/tests/bench/scale" -b "$BUILT" -o "$PWD/other.tsv" many
}

# table NAME BETTER RUNS…: a file of one row as bench writes it
table() {
	local name=$1 better=$2
	shift 2
	jq -n --arg name "$name" --arg better "$better" '{machine: {cpu: "x", threads: 2, compiler: "y"}, rows: [{name: $name,
		unit: "u", better: $better, median: ($ARGS.positional | map(tonumber) | sort | .[length / 2 | floor]),
		min: ($ARGS.positional | map(tonumber) | min), max: ($ARGS.positional | map(tonumber) | max)}]}' --args "$@"
}

@test "bench-compare: a regression is worse, beyond the scatter and beyond the tolerance" {
	compare=$TOP/tests/bench/compare
	table speed higher 100 101 102 >old.json
	table speed higher 80 81 82 >slow.json
	table speed higher 98 99 99.5 >near.json
	table speed higher 90 99 101 >scatter.json
	expect 0 "$compare" old.json old.json
	expect 1 "$compare" old.json slow.json
	[[ $output == *"-19.8%  !"* ]]
	expect 0 "$compare" slow.json old.json
	[[ $output == *"+24.7%  +"* ]]
	expect 0 "$compare" old.json near.json
	[[ $output == *"%  -"* ]]
	expect 1 "$compare" -t 0.01 old.json near.json
	expect 0 "$compare" old.json scatter.json
	[[ $output == *"%  ="* ]]
	table time lower 10 11 12 >quick.json
	table time lower 20 21 22 >long.json
	expect 1 "$compare" quick.json long.json
	expect 0 "$compare" long.json quick.json
	expect 0 "$compare" old.json quick.json
	[[ $output == *new* && $output == *gone* ]]
	table ceiling.x higher 50 51 52 >ceiling.json
	table ceiling.x higher 10 11 12 >low.json
	expect 0 "$compare" ceiling.json low.json
}

@test "bench-compare: what it cannot read" {
	compare=$TOP/tests/bench/compare
	table speed higher 1 2 3 >old.json
	echo '{"rows": []}' >empty.json
	echo '{' >broken.json
	fails 64 "which two files" "$compare" old.json
	fails 64 "expected a share" "$compare" -t x old.json old.json
	fails 66 "cannot be read" "$compare" old.json none.json
	fails 65 "not what make bench writes" "$compare" old.json empty.json
	fails 65 "not what make bench writes" "$compare" broken.json old.json
}
