#!/usr/bin/env bats
# The two pipelines of the design, as written, and the bytes that must never vary.

load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	synth-ratings -q --users 150 --items 400 --ratings 8000 --seed 2 -o ratings.csv --movies movies.csv
	csvsplit -q ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv valid.csv test.csv
}

setup() {
	fresh
	cp "$BATS_FILE_TMPDIR"/*.rec "$BATS_FILE_TMPDIR"/*.ids .
	set -o pipefail
}

@test "samples through a pipe into the trainer, candidates through score, rerank and metrics" {
	sample-neg --ratio 4 --epochs 20 train.rec | train-mlp --valid valid.rec -o model.safetensors -
	sample-neg --candidates 99 --known train.rec test.rec | score -m model.safetensors | rerank --by popularity | metrics -k 10 >table
	grep -q '^HR@10' table
	recdump --verify model.safetensors
}

@test "the same bytes: piped or sampled by the trainer, 1, 2 and 4 threads, every instruction set" {
	train=(train-mlp -q --layers 32-16-8-1 --valid valid.rec)
	"${train[@]}" -e 4 -o a.safetensors train.rec
	sample-neg -q --epochs 4 train.rec | "${train[@]}" -o b.safetensors -
	cmp a.safetensors b.safetensors
	for threads in 1 2 4; do
		"${train[@]}" -e 4 -j $threads -o b.safetensors train.rec
		cmp a.safetensors b.safetensors
	done
	for isa in portable avx2 avx512; do
		RECPIPE_ISA=$isa "${train[@]}" -e 4 -o b.safetensors train.rec || [ $? -eq 69 ]
		cmp a.safetensors b.safetensors
	done
}

@test "the whole chain twice, in files and in pipes: the same lists" {
	train-mlp -q -e 3 -o m train.rec
	sample-neg -q --candidates 20 --known train.rec -o l.rec test.rec
	score -m m -j 1 -o s.rec l.rec
	rerank --by popularity -o r.rec s.rec
	sample-neg -q --candidates 20 --known train.rec test.rec | score -m m -j 2 | rerank --by popularity | cmp - r.rec
}
