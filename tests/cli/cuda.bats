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

@test "the tower by cuBLAS trains and scores as on the CPU, and repeats its bytes" {
	train-mlp --quiet "${small[@]}" --log log.cpu -o model.cpu train.rec
	export RECPIPE_CUDA_TOWER=plain
	expect 0 train-mlp --device cuda "${small[@]}" --log log.plain -o model.plain train.rec
	[[ $stderr == *"training on cuda:0, emulated, tower by cuBLAS"* ]]
	close_logs log.cpu log.plain
	train-mlp --device cuda --quiet "${small[@]}" -o model.again train.rec
	same model.plain model.again
	score --quiet --device cuda -m model.cpu --all-items --top 3 -o lists.plain
	RECPIPE_CUDA_TOWER=fused score --quiet --device cuda -m model.cpu --all-items --top 3 -o lists.fused
	[ "$(recdump lists.plain | cut -f 1,2 | sort)" = "$(recdump lists.fused | cut -f 1,2 | sort)" ]
	RECPIPE_CUDA_TOWER=both fails 64 "'both' is unknown, expected fused or plain" train-mlp --device cuda -o model train.rec
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

@test "products of tf32 and bf16: near single precision, the same bytes again; the CPU has no tf32" {
	wide=(--layers 48-24-20-8-1 --epochs 2 --batch 200)
	train-mlp --device cuda --quiet "${wide[@]}" --log log.fp32 -o model.fp32 train.rec
	for precision in tf32 bf16; do
		train-mlp --device cuda --quiet "${wide[@]}" --precision $precision --log log.$precision -o model.$precision train.rec
		train-mlp --device cuda --quiet "${wide[@]}" --precision $precision -o again train.rec
		same model.$precision again
		run ! cmp -s model.$precision model.fp32
		paste log.fp32 log.$precision | awk -F '\t' 'NR > 1 && ($2 - $9) ^ 2 > (0.01 * $2) ^ 2 { exit 1 }'
		score --quiet --device cuda --precision $precision -m model.fp32 --all-items --top 3 -o lists.$precision
	done
	run ! cmp -s model.tf32 model.bf16
	run ! cmp -s lists.tf32 lists.bf16
	fails 64 "--device cuda has them" train-mlp --precision tf32 -o refused train.rec
	fails 64 "--device cuda has them" score --precision tf32 -m model.fp32 --all-items -o refused
	nothing_left "$PWD/refused"
}

@test "what the backend does not do is refused, and named" {
	fails 64 "ials" train-mlp --device cuda --model ials -o model train.rec
	fails 64 "tf32 is for the products" train-mlp --device cuda --model gmf --precision tf32 -o model train.rec
	fails 69 "cuda:7" train-mlp --device cuda:7 -o model train.rec
	nothing_left "$PWD/model"
}

@test "several devices train and score as one" {
	train-mlp --device cuda --quiet "${small[@]}" --log log.one -o model.one train.rec
	expect 0 train-mlp --device cuda:0,1 "${small[@]}" --log log.two -o model.two train.rec
	[[ $stderr == *"training on cuda:0,1, emulated"* ]]
	close_logs log.one log.two
	RECPIPE_CUDA_TOWER=plain expect 0 train-mlp --device cuda:0,1 "${small[@]}" --log log.plain -o model.plain train.rec
	[[ $stderr == *"training on cuda:0,1, emulated, tower by cuBLAS"* ]]
	close_logs log.one log.plain
	train-mlp --device cuda:0-1 --quiet "${small[@]}" -o model.again train.rec
	same model.two model.again
	train-mlp --device cuda:0-1 --quiet "${small[@]}" --epochs 2 -c ck -o half train.rec
	train-mlp --device cuda:0-1 --quiet "${small[@]}" -c ck -o resumed train.rec
	same model.two resumed
	sample-neg --epochs 3 train.rec | train-mlp --device cuda:0,2-4 --quiet "${small[@]}" --log log.piped -o piped -
	close_logs log.one log.piped
	score --quiet --device cuda -m model.two --all-items --top 7 --known train.rec -o lists.one
	score --quiet --device cuda:4,1,0 -m model.two --all-items --top 7 --known train.rec -o lists.three
	same lists.one lists.three
}

@test "several devices are named once each, and need NCCL" {
	fails 64 "named twice" train-mlp --device cuda:0,1,0 -o model train.rec
	fails 64 "named twice" train-mlp --device cuda:0-2,1 -o model train.rec
	fails 64 "ends before it begins" train-mlp --device cuda:2-1 -o model train.rec
	fails 64 "more than 16 devices" train-mlp --device cuda:0-16 -o model train.rec
	for list in 0, ,1 0- -1 0-1-2 0,x 0,1024 99999999999999999999999999999999999999999999999999999999999999999999999; do
		fails 64 "--device cuda:N" train-mlp --device "cuda:$list" -o model train.rec
	done
	zeros=00000000000000000000000000000000
	for list in ${zeros}x 0-${zeros}${zeros}x; do # nothing is cut off
		fails 64 "--device cuda:N" train-mlp --device "cuda:$list" -o model train.rec
	done
	fails 69 "cuda:7" train-mlp --device cuda:0,7 -o model train.rec
	export RECPIPE_EMULATED_NCCL=0
	fails 69 "NCCL" train-mlp --device cuda:0,1 -o model train.rec
	fails 69 "NCCL" score --device cuda:0,1 -m model --all-items -o lists
	expect 0 train-mlp --device cuda:1 --quiet "${small[@]}" -o model train.rec
}

# says TEXT COMMAND…: it succeeds, and TEXT is on stderr; with --quiet nothing is.
says() {
	local text=$1
	shift
	expect 0 "$@"
	[[ $stderr == *"$text"* ]] || { printf 'lacks "%s": %s\n' "$text" "$stderr" >&2; return 1; }
	expect 0 "$@" --quiet
	[ -z "$stderr" ] || { printf 'not quiet: %s\n' "$stderr" >&2; return 1; }
}

@test "auto takes the device where there is one, and does without threads' number" {
	train-mlp --device cuda --quiet "${small[@]}" -o model.cuda train.rec
	score --device cuda --quiet -m model.cuda --all-items --top 3 -o lists.cuda
	unset RECPIPE_DEVICE
	says "training on cuda:0, emulated" train-mlp "${small[@]}" --threads 1 -o model train.rec
	same model.cuda model
	says "scoring on cuda:0, emulated" score --threads 1 -m model --all-items --top 3 -o lists
	same lists.cuda lists
	sample-neg --epochs 3 -o samples train.rec
	train-mlp --device cuda --quiet "${small[@]}" -o piped.cuda samples
	train-mlp --quiet "${small[@]}" -o piped - <samples
	same piped.cuda piped
}

@test "auto is the CPU where that is named, or an instruction set" {
	train-mlp --device cpu --quiet "${small[@]}" -o model.cpu train.rec
	says "training on cpu, portable" train-mlp --isa portable "${small[@]}" -o model train.rec
	same model.cpu model
	RECPIPE_DEVICE='' says "training on cpu, portable" env RECPIPE_ISA=portable train-mlp "${small[@]}" -o model train.rec
	same model.cpu model
	says "training on cpu" train-mlp --device auto "${small[@]}" -o model train.rec # RECPIPE_DEVICE of the tests
	same model.cpu model
	expect 0 score -m model --all-items -o lists
	[ -z "$stderr" ]
	RECPIPE_DEVICE=cuda:1 says "training on cuda:1" train-mlp "${small[@]}" -o model train.rec
	RECPIPE_DEVICE=cuda:7 fails 69 "cuda:7" score -m model --all-items -o lists
	RECPIPE_DEVICE=tpu fails 64 "--device: 'tpu' is unknown" score -m model --all-items -o lists
}

@test "what the device refuses goes to the CPU under auto, and says why" {
	ials=(--model ials --factors 4 --epochs 2)
	train-mlp --device cpu --quiet "${ials[@]}" -o model.cpu train.rec
	score --device cpu --quiet -m model.cpu --all-items --top 3 -o lists.cpu
	unset RECPIPE_DEVICE
	says "(no CUDA: training ials" train-mlp "${ials[@]}" -o model train.rec
	same model.cpu model
	train-mlp --quiet "${small[@]}" -o model train.rec
	score --device cpu --quiet -m model --all-items --top 3 -o lists.cpu
	export RECPIPE_CUDA_TOWER=both
	says "(no CUDA: RECPIPE_CUDA_TOWER: 'both' is unknown" score -m model --all-items --top 3 -o lists
	same lists.cpu lists
	fails 64 "a gmf has no tower" train-mlp --model gmf --precision bf16 -o refused train.rec
	nothing_left "$PWD/refused"
}

@test "a backend that cannot be used: the CPU under auto, and which part is missing" {
	unset RECPIPE_DEVICE
	train-mlp --device cpu --quiet "${small[@]}" -o model.cpu train.rec
	score --device cpu --quiet -m model.cpu --all-items --top 3 -o lists.cpu
	echo 'no object' >broken.so
	export RECPIPE_CUDA=$PWD/broken.so
	says "(no CUDA: the CUDA backend cannot be opened: " train-mlp "${small[@]}" -o model train.rec
	same model.cpu model
	score --quiet -m model --all-items --top 3 -o lists
	same lists.cpu lists
	unset RECPIPE_CUDA
	mkdir bin
	cp "$BIN/train-mlp" "$BIN/score" bin
	says "(no CUDA: recpipe_cuda.so was not built)" bin/train-mlp "${small[@]}" -o model train.rec
	same model.cpu model
	expect 0 bin/score -m model --all-items --top 3 -o lists
	[ -z "$stderr" ] # nobody wonders
	same lists.cpu lists
}

@test "a resumed run stays on its kind of device as far as it may choose, and says where it does not" {
	unset RECPIPE_DEVICE
	sample-neg --epochs 3 -o samples train.rec
	head -c 90000 samples >part
	for device in cpu cuda; do
		expect 65 train-mlp --device $device --quiet "${small[@]}" -c ck.$device --checkpoint-batches 3 -o no part
		cp ck.$device ck
		train-mlp --quiet "${small[@]}" -c ck --resume -o resumed - <samples
		train-mlp --device $device --quiet "${small[@]}" -o unbroken - <samples
		same unbroken resumed
	done
	cp ck.cuda ck
	expect 0 train-mlp --device cpu "${small[@]}" -c ck --resume -o resumed - <samples
	[[ $stderr == *"training on cpu"*"ck: that run was on cuda; on cpu it ends with other bytes"* ]]
	cp ck.cpu ck
	expect 0 train-mlp --device cuda "${small[@]}" -c ck --resume -o resumed - <samples
	[[ $stderr == *"training on cuda:0"*"ck: that run was on cpu; on cuda it ends with other bytes"* ]]
	cp ck.cpu ck
	RECPIPE_DEVICE=cuda expect 0 train-mlp "${small[@]}" -c ck --resume -o resumed - <samples
	[[ $stderr == *"training on cuda:0"*"that run was on cpu"* ]]
	cp ck.cpu ck
	expect 0 train-mlp --device cuda --quiet "${small[@]}" -c ck --resume -o resumed - <samples
	[ -z "$stderr" ]
}

@test "a machine without a driver is told so" {
	unset RECPIPE_CUDA
	[ -e "$BIN/../lib/recpipe/recpipe_cuda.so" ] || skip "recpipe_cuda.so was not built here (no nvcc, or sanitized)"
	! ldconfig -p | grep -q 'libcuda\.so\.1' || skip "this machine has a CUDA driver"
	fails 69 "there is no CUDA driver" train-mlp --device cuda -o model train.rec
	unset RECPIPE_DEVICE
	says "(no CUDA: there is no CUDA driver" train-mlp "${small[@]}" -o model train.rec
	expect 0 score -m model --all-items -o lists
	[ -z "$stderr" ] # nobody wonders
}
