# shellcheck shell=bash disable=SC2154  # variables of lib.sh and run
# The other models on ml-1m: item-to-item weights, alternating least squares, matrix factorisation.

tool_row() { # NAME COMMAND…: seconds of the whole tool
	local name=$1
	shift
	wanted "$name" || return 0
	timed "$@"
	ours "$name" s lower "$elapsed"
}

group_models() {
	local ease=item-sim.ease.ml1m.seconds cosine=item-sim.cosine.ml1m.seconds run kind kinds='' models=()
	local names=("$ease" "$cosine")
	for kind in ials mf; do
		! train-mlp --help | grep -qE -- "--model .*\b$kind\b" || kinds+=" $kind"
		names+=("train.$kind.ml1m.seconds")
	done
	wanted "${names[@]}" && ml1m || return 0
	for ((run = 0; run < runs; run++)); do
		tool_row $ease item-sim -q --method ease -o "$work/model" "$ml1m/train.rec"
		if wanted $ease && have_peers; then
			ask inverse 3706 "$threads"
			peer $ease "$peers, the inverse alone" "$answer"
		fi
		tool_row $cosine item-sim -q --method cosine --top 200 -o "$work/model" "$ml1m/train.rec"
		for kind in $kinds; do
			models=(train-mlp -q --model "$kind")
			[ "$epochs" = 0 ] || models+=(--epochs "$epochs")
			tool_row "train.$kind.ml1m.seconds" "${models[@]}" -o "$work/model" "$ml1m/train.rec"
		done
	done
}
