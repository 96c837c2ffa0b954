# shellcheck shell=bash disable=SC2154  # variables of lib.sh and run
# Scoring: all users x all items to the best 10, candidate lists, and the products inside.

# Operations of a pair when both halves of the first layer are there: the rest of the tower, forward.
pair_flop=$((2 * (64 * 32 + 32 * 16 + 16 * 8 + 8 * 4 + 4)))

declare -A score_way # how the peer scores fastest, by shape

peer_scoring() { # USERS ITEMS: pairs/s of the peer, into $answer
	have_peers || return 1
	if [ -z "${score_way[$1x$2]:-}" ]; then
		ask tune-score "$1" "$2" "$threads" "$slice"
		score_way[$1x$2]=$answer
	fi
	ask score "$1" "$2" "${score_way[$1x$2]}" "$slice"
}

score_row() { # NAME MODEL USERS ITEMS THREADS ISA OPTION…: the whole tool, a list for everybody
	local name=$1 model=$2 pairs=$(($3 * $4)) n=$5 isa=$6
	wanted "$name" || return 0
	shift 6
	timed score -q -m "$model" --all-items --top 10 --threads "$n" --isa "$isa" "$@" -o /dev/null
	ours "$name" pairs/s higher "$(calculate "$pairs / $elapsed")"
	[ "$isa" != auto ] || isa=amx.bf16
	[ "$isa" = amx.bf16 ] || isa=fma.$isa
	ceiling "$name" "$isa.t$n" "$(calculate "1e9 / $pair_flop")"
}

# Sizes: ml-1m; an eighth of ml-20m's users on all its items, again and again; all of them, once.
group_score() {
	local small=score.ml1m large=score.ml20m run users items eighth bf16=''
	wanted $small.pairs_per_s $small.bf16.pairs_per_s $small.t1.pairs_per_s $small.avx2.pairs_per_s \
		$large.pairs_per_s $large.full.pairs_per_s || return 0
	read -r users items <<<"$large_shape"
	eighth=$((users / 8 + 1))
	random-model --users 6040 --items 3706 -o "$work/small"
	random-model --users $eighth --items "$items" -o "$work/large"
	if wanted $small.bf16.pairs_per_s && bf16_works; then bf16=1; fi
	for ((run = 0; run < runs; run++)); do
		[ -z "$bf16" ] || score_row $small.bf16.pairs_per_s "$work/small" 6040 3706 "$threads" auto --precision bf16
		score_row $small.pairs_per_s "$work/small" 6040 3706 "$threads" "$best_isa"
		if wanted $small.pairs_per_s && peer_scoring 6040 3706; then peer $small.pairs_per_s "$peers" "$answer"; fi
		score_row $small.t1.pairs_per_s "$work/small" 6040 3706 1 "$best_isa"
		if [[ " $other_isas " == *' avx2 '* ]]; then
			score_row $small.avx2.pairs_per_s "$work/small" 6040 3706 "$threads" avx2
		fi
		score_row $large.pairs_per_s "$work/large" $eighth "$items" "$threads" "$best_isa"
		if wanted $large.pairs_per_s && peer_scoring 2048 "$items"; then peer $large.pairs_per_s "$peers" "$answer"; fi
	done
	if wanted $large.full.pairs_per_s; then
		random-model --users "$users" --items "$items" -o "$work/large"
		score_row $large.full.pairs_per_s "$work/large" "$users" "$items" "$threads" "$best_isa"
	fi
	rm -f "$work/large"
}

group_lists() {
	local candidates=500 run pairs bytes
	wanted score.lists.pairs_per_s rerank.mb_per_s metrics.mb_per_s && ml1m || return 0
	sample-neg -q --candidates $candidates --known "$ml1m/train.rec" -o "$work/lists.rec" "$ml1m/test.rec"
	timed train-mlp -q --epochs 1 --batch 65536 "${plain[@]}" -o "$work/model" "$ml1m/train.rec"
	score -q -m "$work/model" -o "$work/scored.rec" "$work/lists.rec"
	pairs=$(($(wc -l <"$ml1m/test.tsv") * (candidates + 1)))
	bytes=$(stat -c %s "$work/scored.rec")
	for ((run = 0; run < runs; run++)); do
		if wanted score.lists.pairs_per_s; then
			timed score -q -m "$work/model" -o /dev/null "$work/lists.rec"
			ours score.lists.pairs_per_s pairs/s higher "$(calculate "$pairs / $elapsed")"
			ceiling score.lists.pairs_per_s "fma.$best_isa.t$threads" "$(calculate "1e9 / $pair_flop")"
		fi
		if wanted rerank.mb_per_s; then
			timed rerank --by popularity -o /dev/null "$work/scored.rec"
			ours rerank.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $elapsed")"
			ceiling rerank.mb_per_s crc32.t1 1000
		fi
		if wanted metrics.mb_per_s; then
			timed metrics -k 10 -o /dev/null "$work/scored.rec"
			ours metrics.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $elapsed")"
			ceiling metrics.mb_per_s crc32.t1 1000
		fi
	done
}

# ---- the tower's products, one thread: rows x inputs x outputs ----

group_products() {
	local rows layer name run library
	for ((run = 0; run < runs; run++)); do
		for rows in 48 480 4080; do
			for layer in 64x64 64x32 32x16; do
				name=product.${rows}x$layer.gflops
				wanted "$name" || continue
				ours "$name" GFLOP/s higher "$(figure_of product parts --part product --rows "$rows" \
					--inputs "${layer%x*}" --outputs "${layer#*x}" --rounds 3 --isa "$best_isa")"
				ceiling "$name" "fma.$best_isa.t1" 1
				have_peers || continue
				for library in mkl onednn openblas; do
					ask product $library "$rows" "${layer%x*}" "${layer#*x}" "$(calculate "$slice / 4")"
					peer "$name" "$library" "$answer"
				done
			done
		done
	done
}
