#!/usr/bin/env bats
# train-mlp on a small world: the same bytes however it is run, resumed or fed; warm starts; every refusal.
# shellcheck disable=SC2154  # $stderr is set by run
load helpers

setup_file() {
	small_world
}

setup() {
	fresh
	cp "$BATS_FILE_TMPDIR"/*.rec "$BATS_FILE_TMPDIR"/*.ids .
	small=(--quiet --layers 16-8-4-1 --epochs 3 --batch 200)
}

# metadata MODEL: the header of a safetensors file.
metadata() {
	local length
	length=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	tail -c +9 "$1" | head -c "$length"
}

@test "trains, validates and writes a model and a log" {
	expect 0 train-mlp --layers 16-8-4-1 --epochs 3 --batch 200 --valid valid.rec --log log.tsv -o model train.rec
	[ -z "$output" ]
	[[ $stderr == *"epoch 3: loss "*"valid HR@10 "* ]]
	[ "$(head -1 log.tsv)" = $'epoch\tloss\tvalid_HR@10\tvalid_NDCG@10\trate\tsamples\tattempt' ]
	[ "$(wc -l <log.tsv)" -eq 4 ]
	awk -F '\t' 'NR > 1 && (NF != 7 || $1 != NR - 1 || $2 <= 0 || $3 < 0 || $3 > 1 || $7 != 0) { exit 1 }' log.tsv
	metadata model | grep -q '"layers":"16-8-4-1"'
	expect 0 score --quiet -m model --all-items --top 3 -o lists
}

@test "the loss falls" {
	train-mlp "${small[@]}" --epochs 6 --log log.tsv -o model train.rec
	awk -F '\t' 'NR == 2 { first = $2 } { last = $2 } END { exit !(last < 0.95 * first) }' log.tsv
}

@test "the same bytes with 1, 2 and 4 threads" {
	train-mlp "${small[@]}" --threads 1 --valid valid.rec --log log1 -o model1 train.rec
	for threads in 2 4; do
		train-mlp "${small[@]}" --threads $threads --valid valid.rec --log log2 -o model2 train.rec
		same model1 model2
		same log1 log2
	done
}

@test "the same bytes with every instruction set" {
	local isa tried=0
	train-mlp "${small[@]}" --isa portable --dropout 0.2 -o model train.rec
	for isa in avx2 avx512; do
		run --separate-stderr train-mlp "${small[@]}" --isa $isa --dropout 0.2 -o model.$isa train.rec
		[ "$status" -eq 69 ] && continue
		[ "$status" -eq 0 ]
		same model model.$isa
		tried=$((tried + 1))
	done
	[ "$tried" -gt 0 ] || skip "this processor has neither AVX2 nor AVX-512"
	fails 64 mmx train-mlp "${small[@]}" --isa mmx -o model2 train.rec
}

@test "the same bytes piped or from a file" {
	train-mlp "${small[@]}" --valid valid.rec --log log1 -o model1 train.rec
	sample-neg --ratio 4 --epochs 3 train.rec |
		train-mlp --quiet --layers 16-8-4-1 --batch 200 --valid valid.rec --log log2 -o model2 -
	same model1 model2
	same log1 log2
	train-mlp "${small[@]}" --ratio 2 --seed 9 --alpha 0.5 -o model1 - <train.rec
	sample-neg --ratio 2 --epochs 3 --seed 9 --alpha 0.5 -o samples train.rec
	train-mlp --quiet --layers 16-8-4-1 --batch 200 -o model2 samples
	same model1 model2
}

@test "batch and rate are picked by the data, told, and the same from a stream of samples" {
	train-mlp --layers 16-8-4-1 --epochs 1 -o model train.rec 2>told
	grep -q 'batches of 640 samples, rate 0.001$' told
	train-mlp --quiet --layers 16-8-4-1 --epochs 1 --batch 640 --lr 0.001 -o model2 train.rec
	cmp model model2
	sample-neg --quiet --ratio 4 --epochs 1 train.rec | train-mlp --quiet --layers 16-8-4-1 -o model3 -
	cmp model model3
	run train-mlp --layers 16-8-4-1 --epochs 1 --batch 2560 -o model train.rec
	[[ $output == *'batches of 2560 samples, rate 0.002'* ]]
}

@test "another seed, another model" {
	train-mlp "${small[@]}" -o model1 train.rec
	train-mlp "${small[@]}" --seed 2 -o model2 train.rec
	run ! cmp -s model1 model2
}

@test "options that disagree with the samples are refused" {
	sample-neg --ratio 2 --epochs 3 --seed 9 -o samples train.rec
	fails 64 "--ratio 4 disagrees" train-mlp --ratio 4 -o model samples
	fails 64 "--seed 1 disagrees" train-mlp --seed 1 -o model samples
	fails 64 "--epochs 20 disagrees" train-mlp --epochs 20 -o model samples
	fails 64 "--alpha 1 disagrees" train-mlp --alpha 1 -o model samples
	nothing_left "$PWD/model"
	expect 0 train-mlp --quiet --layers 16-8-4-1 --ratio 2 --seed 9 --epochs 3 -o model samples
}

@test "a producer that dies is told, and leaves no model" {
	sample-neg --epochs 3 -o samples train.rec
	head -c 50000 samples >part
	fails 65 part train-mlp --layers 16-8-4-1 -o model part
	nothing_left "$PWD/model"
	head -c -1 samples >part
	expect 65 train-mlp --layers 16-8-4-1 -o model part
	nothing_left "$PWD/model"
}

@test "killed at any moment and resumed: the same bytes" {
	local options=("${small[@]}" --valid valid.rec --epochs 8 --checkpoint ck --checkpoint-batches 5) delay killed=0
	train-mlp "${options[@]}" --log log -o model train.rec
	for delay in 0.05 0.1 0.2 0.3; do
		rm -f ck
		train-mlp "${options[@]}" --log log2 -o model2 train.rec &
		sleep $delay
		if kill -KILL $! 2>/dev/null; then killed=1; fi
		wait $! || true
		train-mlp "${options[@]}" --resume --log log2 -o model2 train.rec
		same model model2
		same log log2
		rm -f model2 log2 .model2.* .log2.* .ck.*
	done
	[ "$killed" -eq 1 ]
}

@test "a stream resumed from a checkpoint: the same bytes" {
	sample-neg --epochs 3 -o samples train.rec
	train-mlp "${small[@]}" --valid valid.rec --log log -o model train.rec
	head -c 90000 samples >part
	expect 65 train-mlp "${small[@]}" --valid valid.rec -c ck --checkpoint-batches 3 -o model2 part
	[ -e ck ]
	train-mlp "${small[@]}" --valid valid.rec -c ck --resume --log log2 -o model2 - <samples
	same model model2
	same log log2
	# … and the stream's checkpoint goes on from the file.
	rm ck
	expect 65 train-mlp "${small[@]}" --valid valid.rec -c ck --checkpoint-batches 3 -o model3 part
	train-mlp "${small[@]}" --valid valid.rec -c ck --resume -o model3 train.rec
	same model model3
}

@test "a checkpoint that does not fit is refused, and told why" {
	local options=("${small[@]}" -c ck)
	train-mlp "${options[@]}" -o model train.rec
	fails 64 '"options" was' train-mlp "${options[@]}" --seed 2 --resume -o unmade train.rec
	fails 64 '"options" was' train-mlp "${options[@]}" --lr 0.01 --resume -o unmade train.rec
	fails 64 '"options" was' train-mlp "${options[@]}" --epochs 9 --resume -o unmade train.rec
	fails 64 '"valid" was' train-mlp "${options[@]}" --valid valid.rec --resume -o unmade train.rec
	fails 64 '"positives" was' train-mlp "${options[@]}" --resume -o unmade valid.rec
	fails 65 "expected a checkpoint" train-mlp "${small[@]}" -c model --resume -o unmade train.rec
	fails 64 "--resume needs --checkpoint" train-mlp "${small[@]}" --resume -o unmade train.rec
	fails 64 "need --checkpoint" train-mlp "${small[@]}" --checkpoint-batches 3 -o unmade train.rec
	fails 64 "the same file" train-mlp "${small[@]}" -c unmade -o unmade train.rec
	head -c 3000 ck >part
	fails 65 part train-mlp "${small[@]}" -c part --resume -o unmade train.rec
	nothing_left "$PWD/unmade"
}

@test "without a checkpoint --resume starts afresh" {
	train-mlp "${small[@]}" -o model train.rec
	expect 0 train-mlp "${small[@]}" -c ck --resume -o model2 train.rec
	[[ $stderr == *"no checkpoint yet"* ]]
	same model model2
}

@test "a warm start, also with users and items added" {
	train-mlp "${small[@]}" -o old train.rec
	expect 0 train-mlp "${small[@]}" --init-from old --seed 5 -o warm train.rec
	train-mlp "${small[@]}" --seed 5 -o cold train.rec
	run ! cmp -s warm cold
	metadata warm | grep -q '"init":'
	printf 'userId,movieId,rating,timestamp\nnew user,new item,5,1\nnew user,1,5,1\n' >more.csv
	{ cat "$BATS_FILE_TMPDIR/train.csv"; tail -n +2 more.csv; } >grown.csv
	encode-ids --update --users users.ids --items items.ids grown.csv 2>/dev/null
	expect 0 train-mlp "${small[@]}" --init-from old -o grown grown.rec
	expect 0 train-mlp "${small[@]}" --init-from old --epochs 1 --lr 1e-12 --log log -o same grown.rec
	train-mlp "${small[@]}" --epochs 1 --lr 1e-12 --log log.cold -o cold grown.rec
	# The old model's loss is already lower than a new one's.
	awk -F '\t' 'FNR == 2 { loss[FILENAME] = $2 } END { exit !(loss["log"] < loss["log.cold"] - 0.01) }' log log.cold
	fails 65 "ids" train-mlp "${small[@]}" --init-from grown -o back train.rec
	fails 65 "tower" train-mlp "${small[@]}" --layers 16-4-1 --init-from old -o other train.rec
	fails 66 none train-mlp "${small[@]}" --init-from none -o other train.rec
	nothing_left "$PWD/back"
}

@test "training that diverges ends with an error and keeps the checkpoint" {
	train-mlp "${small[@]}" -c ck -o model train.rec
	cp ck before
	fails 65 "training diverged" train-mlp "${small[@]}" --lr 10 --adam dense --weight-decay 1000 --epochs 50 -c ck2 -o bad train.rec
	nothing_left "$PWD/bad"
	same ck before
	if [ -e ck2 ]; then recdump --verify ck2; fi
}

@test "inputs that are wrong are refused" {
	fails 66 none train-mlp "${small[@]}" -o model none
	fails 65 "expected interactions or samples" train-mlp "${small[@]}" -o model users.ids
	: >empty
	expect 65 train-mlp "${small[@]}" -o model empty
	fails 66 none train-mlp "${small[@]}" --valid none -o model train.rec
	head -c 1000 train.rec >part
	expect 65 train-mlp "${small[@]}" -o model part
	synth-ratings --users 9 --items 20 --ratings 60 --seed 1 -o other.csv
	encode-ids --users other.users --items other.items other.csv 2>/dev/null
	fails 65 "different" train-mlp "${small[@]}" --valid other.rec -o model train.rec
	fails 65 "different" train-mlp "${small[@]}" --valid valid.rec --known other.rec -o model train.rec
	nothing_left "$PWD/model"
}

@test "options that are wrong are refused" {
	fails 64 "--out" train-mlp train.rec
	fails 64 "--out" train-mlp -o - train.rec
	fails 64 operand train-mlp -o model
	fails 64 "--layers" train-mlp --layers 128-64 -o model train.rec
	fails 64 "--layers" train-mlp --layers 127-64-1 -o model train.rec
	fails 64 "--device" train-mlp --device tpu -o model train.rec
	fails 64 "--dropout" train-mlp --dropout 1 -o model train.rec
	fails 64 "--lr" train-mlp --lr -0.1 -o model train.rec
	fails 64 "--epochs" train-mlp --epochs 0 -o model train.rec
	fails 64 "--schedule" train-mlp --schedule step -o model train.rec
	RECPIPE_CUDA=$PWD/none.so fails 69 "CUDA" train-mlp --device cuda -o model train.rec
	nothing_left "$PWD/model"
}

@test "outputs that cannot be written are told before training" {
	fails 73 "none/model" train-mlp "${small[@]}" -o none/model train.rec
	fails 73 "none/log" train-mlp "${small[@]}" --log none/log -o model train.rec
	fails 74 "/dev/full" train-mlp "${small[@]}" -o /dev/full train.rec
	fails 74 "/dev/full" train-mlp "${small[@]}" --log /dev/full -o model train.rec
	fails 73 "none/ck" train-mlp "${small[@]}" -c none/ck -o model train.rec
	nothing_left "$PWD/model"
}

@test "known items are no candidates of the validation" {
	train-mlp "${small[@]}" --valid valid.rec --log log1 -o model1 train.rec
	train-mlp "${small[@]}" --valid valid.rec --known test.rec --log log2 -o model2 train.rec
	[ "$(cut -f1,2 log1)" = "$(cut -f1,2 log2)" ]
	[ "$(cut -f4 log1)" != "$(cut -f4 log2)" ]
}

@test "one user, one item" {
	printf 'userId,movieId,rating\nu,i,5\n' >one.csv
	encode-ids --users one.users --items one.items one.csv 2>/dev/null
	expect 0 train-mlp --layers 16-8-4-1 --epochs 2 -o model one.rec
	[[ $stderr == *"negatives do not exist"* ]]
}

@test "no tower dies in 50 seeds" {
	not_sanitized
	local seed
	for ((seed = 0; seed < 50; seed++)); do
		train-mlp --quiet --layers 32-16-8-4-1 --epochs 2 --batch 160 --restarts 0 --seed $seed -o model train.rec
	done
}

@test "the seed's tower learns the seed's split" {
	not_sanitized
	need_data seed-split
	encode-ids --users u --items i --unknown keep "$DATA/seed-split/train.csv" \
		"$DATA/seed-split/evaluation.csv" 2>/dev/null
	train-mlp --quiet --epochs 6 --valid evaluation.rec --log log -o model train.rec
	awk -F '\t' 'NR > 1 && $3 > best { best = $3 } END { exit !(best > 0.75) }' log
}
