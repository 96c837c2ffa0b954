#!/usr/bin/env bats
# make pipeline and pipeline.sh on a small example: the table, stale stages alone, the lock, the gate, publishing.

load helpers

setup_file() {
	[ -z "${RECPIPE_SANITIZED:-}" ] || return 0
	export RUN_BASE=$BATS_FILE_TMPDIR/base
	export SMALL="SYNTH_USERS=60 SYNTH_ITEMS=150 SYNTH_RATINGS=2500 EPOCHS=2 DRAWS=2 CANDIDATES=30 LAYERS=16-8-1 RERANK_TOP=20"
	# shellcheck disable=SC2086
	make -C "$TOP" -s BUILD="$(dirname "$BIN")" pipeline RUN="$RUN_BASE" $SMALL >"$BATS_FILE_TMPDIR/out" 2>&1 ||
		{ cat "$BATS_FILE_TMPDIR/out" >&2; return 1; }
}

setup() {
	not_sanitized # make would rebuild the tools without sanitizers
	fresh
	cp -a "$RUN_BASE" run
	# shellcheck disable=SC2206
	small=($SMALL)
}

again() { make -C "$TOP" -s BUILD="$(dirname "$BIN")" pipeline RUN="$PWD/run" "$@"; }

@test "the table names every system, both rankings, and the seconds" {
	for word in ials mf mlp ease cosine near next reranked popularity random 'sampled HR@10' 'full NDCG@10' 'seconds a stage'; do
		grep -q "$word" run/report.txt
	done
	# Ten systems and the paired differences of seven, in two rankings each.
	[ "$(awk -F '\t' '$3 == "HR@10" && $7 == ""' run/report.tsv | wc -l)" -eq 20 ]
	[ "$(awk -F '\t' '$3 == "HR@10" && $7 != ""' run/report.tsv | wc -l)" -eq 14 ]
	[ "$(tail -n +2 run/recommendations.csv | wc -l)" -gt 300 ]
	[ "$(wc -l <run/recommendations.jsonl)" -ge 55 ]
	recdump --verify run/*.rec run/model.safetensors run/*.ids run/models/*.rec run/models/*.safetensors
	cmp run/model.safetensors run/models/ials.safetensors
}

@test "nothing is stale: nothing runs; a setting makes its stages run and no other" {
	again "${small[@]}" >out # a copy is in another folder
	again "${small[@]}" >out
	run ! grep STAGE out
	again "${small[@]}" TOP=5 >out
	grep -q 'STAGE    recommend' out
	run ! grep 'STAGE    train' out
	again "${small[@]}" TOP=5 SEED=2 >out
	grep -q 'STAGE    train' out
	! grep -q 'STAGE    split' out
}

@test "DEVICE is of training and scoring, makes what it changes stale, and leaves ials to the CPU" {
	grep -qw fma /proc/cpuinfo || skip "the emulated device needs a processor with fused multiply-adds"
	again "${small[@]}" >out # a copy is in another folder
	RECPIPE_CUDA=$(dirname "$BIN")/emulated/recpipe_cuda.so again "${small[@]}" DEVICE=cuda >out
	grep -q 'STAGE    fit.mf' out
	run ! grep 'STAGE    \(train\|fit\).\(ials\|ease\)' out
	grep -q 'training on cuda:0, emulated' run/logs/train.mf
	grep -q 'training on cuda:0, emulated' run/logs/train.mlp
	run ! cmp -s run/models/mlp.safetensors "$RUN_BASE/models/mlp.safetensors"
	RECPIPE_CUDA=/nonexistent fails 2 "the CUDA backend cannot be opened" again "${small[@]}" DEVICE=cuda TOP=5
}

@test "the same settings give the same bytes in another folder" {
	make -C "$TOP" -s BUILD="$(dirname "$BIN")" pipeline RUN="$PWD/other" "${small[@]}" THREADS=1 >/dev/null
	for file in model.safetensors blend.json recommendations.csv recommendations.jsonl report.tsv eval/reranked.full.rec; do
		cmp run/$file other/$file
	done
}

@test "the blend has a signal of every model and weight, and is what recommendations come from" {
	for name in score mf mlp ease cosine near next popularity genres years; do
		grep -q "\"name\": \"$name\"" run/blend.json
	done
	! cmp -s run/eval/ials.1.rec run/eval/reranked.1.rec
	before=$(sha256sum <run/recommendations.csv)
	again "${small[@]}" RERANK= >out
	! grep -q 'STAGE    train\|STAGE    fit' out
	[ "$(sha256sum <run/recommendations.csv)" != "$before" ]
	[ "$(awk -F '\t' '$1 == "reranked-ials" && $4 != 0' run/report.tsv | wc -l)" -eq 0 ]
}

@test "a model begins with another; data without times and titles do without what takes them" {
	cut -d , -f 1-3 run/ratings.csv >untimed.csv
	make -C "$TOP" -s BUILD="$(dirname "$BIN")" pipeline RUN="$PWD/other" "${small[@]}" RATINGS="$PWD/untimed.csv" SPLIT=random \
		DRAWS=1 MODELS='ials gmf' FROM_gmf=narrow KIND_narrow=ials OPTIONS_narrow='--factors 4 --epochs 1' \
		OPTIONS_gmf='--factors 4 --epochs 1' OPTIONS_ials='--factors 8 --epochs 2' >out
	grep -q 'STAGE    fit.narrow' out
	recdump other/models/gmf.safetensors | grep -q '"from"\|init'
	[ -s other/models/cosine.rec ] && [ ! -s other/models/near.rec ] && [ ! -s other/eval/near.full.tsv ]
	! grep -q '^near\|^next\|^narrow' other/report.tsv
	! grep -q '"near"\|"genres"' other/blend.json
}

@test "final models go on for a share of the epochs, or begin anew; the mlp has a budget of samples" {
	[ "$(tail -n +2 run/models/mlp.fit.tsv | wc -l)" -eq 1 ]
	again "${small[@]}" REFIT=1 >/dev/null
	[ "$(tail -n +2 run/models/mlp.fit.tsv | wc -l)" -eq "$(cat run/models/mlp.epochs)" ]
	! cmp -s run/models/mlp.safetensors "$RUN_BASE/models/mlp.safetensors"
	cmp run/models/mlp.valid.safetensors "$RUN_BASE/models/mlp.valid.safetensors"
	again "${small[@]}" REFIT=1 SAMPLES=1 >out
	[ "$(cat run/models/mlp.epochs)" -eq 1 ]
	! grep -q 'STAGE    train.mf' out
}

@test "a stage that fails says so and ends the run" {
	run again RATINGS=/dev/null "${small[@]}"
	[ "$status" -ne 0 ]
	[ "$(cat run/failed)" = "split 65" ]
}

@test "wrong settings are refused" {
	run make -C "$TOP" -s print-run EPOCHS=many
	[ "$status" -ne 0 ]
	[[ $output == *"EPOCHS is 'many'"* ]]
}

@test "pipeline.sh publishes whole versions, once; locks; gates" {
	need flock
	sh=("$TOP/pipeline.sh" --name "bats-$$" --publish "$PWD/published" --log "$PWD/log")
	export BUILD
	BUILD=$(dirname "$BIN")
	expect 0 "${sh[@]}" "${small[@]}"
	[ -L published/current ]
	(cd published/current && sha256sum --quiet -c SHA256SUMS)
	# What README says of serving.
	sed -n '/^score .*--all-items --top 500/,/^rerank/p; /^\t--/p' "$TOP/README.md" | sed 's/--user 42/--user 7/' >serve
	(cd published/current && cp "$TOP/run/bats-$$/movies.csv" . && bash -euo pipefail "$OLDPWD/serve" >"$OLDPWD/ten" &&
		rm movies.csv base.rec mlp.rec)
	[ "$(grep -c . ten)" -ge 10 ]
	before=$(readlink published/current)
	expect 0 "${sh[@]}" "${small[@]}"
	[ "$(readlink published/current)" = "$before" ]
	grep -q 'nothing new' log
	fails 1 "gate not met" "${sh[@]}" --gate 'HR@10>=0.999' "${small[@]}"
	[ "$(readlink published/current)" = "$before" ]
	expect 0 "${sh[@]}" "${small[@]}" SEED=3
	[ "$(readlink published/current)" != "$before" ]
	[ -d "published/$before" ]
	(
		flock 9
		fails 75 "holds" "${sh[@]}" "${small[@]}"
	) 9>"$TOP/run/bats-$$.lock"
	fails 78 "" "${sh[@]}" EPOCHS=many
	fails 64 "unknown option" "${sh[@]}" --fast
	rm -rf "${TOP:?}/run/bats-$$" "$TOP/run/bats-$$".*
}
