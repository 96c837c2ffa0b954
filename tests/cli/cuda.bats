#!/usr/bin/env bats
# --device cuda through the tools: the backend on the emulated device (cuda/launch.h), what it refuses, what is missing.
# shellcheck disable=SC2154  # $stderr is set by run
load helpers

setup_file() {
	small_world
}

setup() {
	fresh
	grep -qw fma /proc/cpuinfo || skip "the emulated device needs a processor with fused multiply-adds"
	cp "$BATS_FILE_TMPDIR"/*.rec "$BATS_FILE_TMPDIR"/*.ids .
	export RECPIPE_CUDA=${RECPIPE_BUILD:-$TOP/build}/emulated/recpipe_cuda.so
	small=(--layers 16-8-4-1 --epochs 3 --batch 200 --valid valid.rec)
}

# close_logs A B: the same epochs, losses within a thousandth.
close_logs() {
	paste "$1" "$2" | awk -F '\t' 'NR > 1 && ($1 != $8 || $6 != $13 || ($2 - $9) ^ 2 > (0.001 * $2) ^ 2) { exit 1 }'
}

@test "the tower trains as on the CPU, and repeats its bytes" {
	train-mlp --quiet "${small[@]}" --log log.cpu -o model.cpu train.rec
	expect 0 train-mlp --device cuda "${small[@]}" --log log.cuda -o model.cuda train.rec
	[[ $stderr == *"training on cuda:0, emulated"* ]]
	close_logs log.cpu log.cuda
	train-mlp --device cuda:0 --quiet "${small[@]}" --log log.again -o model.again train.rec
	same model.cuda model.again
	same log.cuda log.again
}

@test "samples from a pipe, and resumed runs" {
	train-mlp --device cuda --quiet "${small[@]}" -o model train.rec
	sample-neg --epochs 3 -o samples train.rec
	head -c 90000 samples >part
	expect 65 train-mlp --device cuda --quiet "${small[@]}" -c ck --checkpoint-batches 3 -o no part
	train-mlp --device cuda --quiet "${small[@]}" -c ck --resume -o resumed - <samples
	train-mlp --device cuda --quiet "${small[@]}" -o unbroken - <samples
	same unbroken resumed
	sample-neg --epochs 3 train.rec | train-mlp --device cuda --quiet "${small[@]}" -o piped -
	score --quiet -m model --all-items --top 3 -o lists
	score --quiet -m piped --all-items --top 3 -o lists.piped
	same lists lists.piped
}

@test "scores and rankings are the CPU's" {
	train-mlp --quiet "${small[@]}" -o model train.rec
	sample-neg --candidates 50 --known train.rec test.rec -o candidates
	score --quiet -m model candidates -o scores.cpu
	score --quiet --device cuda -m model candidates -o scores.cuda
	same scores.cpu scores.cuda
	score --quiet -m model --all-items --top 7 --known train.rec -o lists.cpu
	score --quiet --device cuda -m model --all-items --top 7 --known train.rec -o lists.cuda
	same lists.cpu lists.cuda
}

@test "mf and history train against the whole catalogue as on the CPU, repeat their bytes and score" {
	users=(--quiet --factors 12 --epochs 3 --batch 20 --valid valid.rec)
	for kind in mf "history --user-part"; do
		# shellcheck disable=SC2206  # two words
		of=(--model $kind --loss softmax)
		train-mlp "${users[@]}" "${of[@]}" --log log.cpu -o model.cpu train.rec
		train-mlp --device cuda "${users[@]}" "${of[@]}" --log log.cuda -o model.cuda train.rec
		close_logs log.cpu log.cuda
		train-mlp --device cuda "${users[@]}" "${of[@]}" --checkpoint ck --checkpoint-batches 2 -o again train.rec
		same model.cuda again
	done
	score --quiet -m model.cuda --history train.rec --all-items --top 7 --known train.rec -o lists.cpu
	score --quiet --device cuda -m model.cuda --history train.rec --all-items --top 7 --known train.rec -o lists.cuda
	same lists.cpu lists.cuda
	train-mlp --quiet --model ials --factors 12 --epochs 2 -o model.ials train.rec
	score --quiet -m model.ials --all-items --top 7 --known train.rec -o lists.cpu
	score --quiet --device cuda -m model.ials --all-items --top 7 --known train.rec -o lists.cuda
	same lists.cpu lists.cuda
}

@test "what the backend does not do is refused, and named" {
	fails 64 "ials" train-mlp --device cuda --model ials -o model train.rec
	fails 64 "bf16" train-mlp --device cuda --precision bf16 -o model train.rec
	fails 69 "cuda:7" train-mlp --device cuda:7 -o model train.rec
	nothing_left "$PWD/model"
}

@test "auto is the CPU, whatever is there" {
	expect 0 train-mlp --device auto "${small[@]}" -o model train.rec
	[[ $stderr == *"training on cpu"* ]]
}

@test "a machine without a driver is told so" {
	unset RECPIPE_CUDA
	[ -e "$BIN/../lib/recpipe/recpipe_cuda.so" ] || skip "recpipe_cuda.so was not built here (no nvcc, or sanitized)"
	! ldconfig -p | grep -q 'libcuda\.so\.1' || skip "this machine has a CUDA driver"
	fails 69 "there is no CUDA driver" train-mlp --device cuda -o model train.rec
}
