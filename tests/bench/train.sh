# shellcheck shell=bash disable=SC2154  # variables of lib.sh and run
# Training: the engine alone, the whole of train-mlp, the time to a figure from a cold start, the seed's recipe.

batches='35 256 320 1280 4096 16384 65536'
isa_batches='1280 16384'
plain=(--dropout 0 --weight-decay 0 --average 0) # as in the peers, which have none of these

declare -A way # how the peer trains fastest at each batch

# peer_training BATCH: samples/s of the peer, into $answer.
peer_training() {
	have_peers || return 1
	if [ -z "${way[$1]:-}" ]; then
		ask tune-train "$1" "$threads" "$slice"
		way[$1]=$answer
	fi
	ask train "$1" "${way[$1]}" "$slice"
}

thread_counts() {
	printf '%s\n' 1 "$threads" | sort -nu
}

# ---- the engine alone, on samples that are drawn beforehand ----

engine_row() { # NAME BATCH THREADS ISA
	wanted "$1" || return 0
	local span=524288 # what train-mlp hands over at once; without vectors that would take a minute
	[ "$4" != portable ] || span=6400
	engine --batch "$2" --threads "$3" --isa "$4" --seconds "$slice" --span $span "$ml1m/train.rec" >"$work/engine"
	ours "$1" samples/s higher "$(figure_of samples_per_s cat "$work/engine")"
	ceiling "$1" "fma.$4.t$3" "$(calculate "1e9 / $(figure_of flop_per_sample cat "$work/engine")")"
}

group_engine() {
	local batch n isa run name names=()
	for batch in $batches; do
		for n in $(thread_counts); do names+=("engine.ml1m.b$batch.t$n.samples_per_s"); done
	done
	for isa in $other_isas; do
		for batch in $isa_batches; do names+=("engine.ml1m.b$batch.t$threads.$isa.samples_per_s"); done
	done
	wanted "${names[@]}" && ml1m || return 0
	for ((run = 0; run < runs; run++)); do
		for batch in $batches; do
			for n in $(thread_counts); do
				engine_row "engine.ml1m.b$batch.t$n.samples_per_s" "$batch" "$n" "$best_isa"
			done
			name=engine.ml1m.b$batch.t$threads.samples_per_s
			if wanted "$name" && peer_training "$batch"; then peer "$name" "$peers, same batch" "$answer"; fi
		done
		for isa in $other_isas; do
			for batch in $isa_batches; do
				engine_row "engine.ml1m.b$batch.t$threads.$isa.samples_per_s" "$batch" "$threads" "$isa"
			done
		done
	done
}

# ---- the whole tool: reads the positives, draws fresh negatives every epoch, writes the model ----

epochs_of() { # BATCH: so many that a run takes seconds
	if [ "$epochs" -gt 0 ]; then
		echo "$epochs"
	else
		case $1 in 35 | 256 | 320) echo 1 ;; 1280) echo 2 ;; *) echo 5 ;; esac
	fi
}

train_row() { # NAME BATCH OPTION…: samples/s of the whole run
	local name=$1 batch=$2 passes
	shift 2
	wanted "$name" || return 0
	passes=$(epochs_of "$batch")
	timed train-mlp -q --epochs "$passes" --batch "$batch" "$@" -o "$work/model" "$ml1m/train.rec"
	ours "$name" samples/s higher "$(calculate "$positives * 5 * $passes / $elapsed")"
}

# Emulated, bf16 is slower than fp32 and tells nothing: there are rows for it only where tiles do the work.
bf16_works() {
	awk -F '\t' '$1 ~ /^ceiling\.amx/ { found = 1 } END { exit !found }' "$raw" && return 0
	echo "bench: no AMX here: no rows for bf16" >&2
	return 1
}

group_train() {
	local batch run bf16='' names=(train.ml1m.samples_per_s train.ml1m.defaults.samples_per_s
		train.ml1m.t1.samples_per_s train.ml1m.bf16.samples_per_s train.ml1m.bf16.b65536.samples_per_s)
	for batch in $batches; do names+=("train.ml1m.b$batch.samples_per_s"); done
	wanted "${names[@]}" && ml1m || return 0
	if wanted train.ml1m.bf16.samples_per_s train.ml1m.bf16.b65536.samples_per_s && bf16_works; then bf16=1; fi
	for ((run = 0; run < runs; run++)); do
		train_row train.ml1m.samples_per_s 16384 "${plain[@]}"
		train_row train.ml1m.t1.samples_per_s 16384 "${plain[@]}" --threads 1
		if [ -n "$bf16" ]; then
			train_row train.ml1m.bf16.samples_per_s 16384 "${plain[@]}" --precision bf16
			train_row train.ml1m.bf16.b65536.samples_per_s 65536 "${plain[@]}" --precision bf16
		fi
		train_row train.ml1m.defaults.samples_per_s 0
		for batch in $batches; do
			train_row "train.ml1m.b$batch.samples_per_s" "$batch" "${plain[@]}"
			if wanted "train.ml1m.b$batch.samples_per_s" && peer_training "$batch"; then
				peer "train.ml1m.b$batch.samples_per_s" "$peers, same batch" "$answer"
			fi
			# The row without a batch stands beside the best the peer does at any.
			if wanted train.ml1m.samples_per_s && [ "$batch" -ge 1280 ] && peer_training "$batch"; then
				peer train.ml1m.samples_per_s "$peers, batch $batch" "$answer"
			fi
		done
	done
}

# ---- HR@10 >= 0.635 on the paper's candidates, from nothing ----

cold_options=(--batch 16384 --lr 0.004)

cold_hit_rate() { # WAY EPOCHS SEED: HR@10 of the tower after so many, into $hit_rate, and the seconds of training
	local start=0 from=()
	if [ "$1" = ials ]; then # its rows begin as the factors of two sweeps
		timed train-mlp -q --model ials --factors 64 --regularization 0.006 --unobserved 0.2 --epochs 2 --seed "$3" \
			-o "$work/start" "$ml1m/train.rec"
		start=$elapsed from=(--init-from "$work/start")
	fi
	timed train-mlp -q "${from[@]}" --epochs "$2" --seed "$3" "${plain[@]}" "${cold_options[@]}" -o "$work/model" \
		"$ml1m/train.rec"
	elapsed=$(calculate "$start + $elapsed")
	score -q -m "$work/model" "$work/given.rec" | metrics -k 10 -m HR --bootstrap 0 --json >"$work/metrics"
	hit_rate=$(jq '.measures["HR@10"].mean' "$work/metrics")
}

cold_rows() { # NAME WAY: the epochs that three seeds need, and their seconds
	local passes seed run reached
	for ((passes = 1; passes <= 15; passes++)); do
		reached=1
		for seed in 1 2 3; do
			cold_hit_rate "$2" "$passes" "$seed"
			reached=$(calculate "$reached && $hit_rate >= 0.635")
			[ "$reached" = 1 ] || break
		done
		[ "$reached" = 0 ] || break
	done
	if [ "$reached" = 0 ]; then
		echo "bench: HR@10 0.635 is not reached in 15 epochs of ${cold_options[*]}: no row" >&2
		return 0
	fi
	ours "$1.epochs" epochs lower "$passes"
	for ((run = 0; run < runs; run++)); do
		cold_hit_rate "$2" "$passes" $((run % 3 + 1))
		ours "$1.seconds" s lower "$elapsed"
	done
}

group_cold() {
	local name=train.ml1m.cold_start
	wanted $name.seconds $name.epochs $name.random.seconds $name.random.epochs && ml1m || return 0
	[ "$train_rows" -gt 900000 ] || return 0
	sample-neg -q --allow-known --known "$ml1m/train.rec" --given "$set/test.negative.gz" --users "$ml1m/users.ids" \
		--items "$ml1m/items.ids" -o "$work/given.rec" "$ml1m/test.rec"
	if wanted $name.seconds $name.epochs; then cold_rows $name ials; fi
	if wanted $name.random.seconds $name.random.epochs; then cold_rows $name.random random; fi
}

# ---- the seed's recipe: 10 epochs over its 100,226 positives ----

recipe_figures() { # NAME MODEL: HR@10 and NDCG@10, sampled, one draw
	score -q -m "$2" "$work/seed/lists.rec" | metrics -k 10 -m HR -m NDCG --bootstrap 0 --json >"$work/metrics"
	ours "$1.hr10" mean higher "$(jq '.measures["HR@10"].mean' "$work/metrics")"
	ours "$1.ndcg10" mean higher "$(jq '.measures["NDCG@10"].mean' "$work/metrics")"
}

group_recipe() {
	local base=train.seed_recipe run batch name passes=10
	wanted $base.seconds $base.b1280.seconds && have seed-split || return 0
	[ "$epochs" = 0 ] || passes=$epochs
	mkdir -p "$work/seed"
	encode-ids -q --unknown keep --users "$work/seed/users.ids" --items "$work/seed/items.ids" --out "$work/seed" \
		"$set/train.csv" "$set/evaluation.csv"
	sample-neg -q --candidates 99 --known "$work/seed/train.rec" -o "$work/seed/lists.rec" "$work/seed/evaluation.rec"
	positives=$(($(wc -l <"$set/train.csv") - 1))
	for ((run = 0; run < runs; run++)); do
		for batch in 35 1280; do
			name=$base.b$batch
			[ "$batch" != 35 ] || name=$base
			wanted "$name.seconds" || continue
			timed train-mlp -q --epochs "$passes" --batch "$batch" "${plain[@]}" -o "$work/model" "$work/seed/train.rec"
			ours "$name.seconds" s lower "$elapsed"
			[ "$run" -gt 0 ] || recipe_figures "$name" "$work/model"
			if peer_training 35; then
				peer "$name.seconds" "$peers, batch 35, projected" "$(calculate "$positives * 5 * $passes / $answer")"
			fi
		done
	done
}
