#!/usr/bin/env bats
# make tune: the table and the best of it, nothing trained twice, broken off and gone on with, settings that fail.
# shellcheck disable=SC2154  # $stderr is set by run
load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return 1
	mkdir run
	synth-ratings -q --users 60 --items 100 --ratings 2000 --seed 3 -o ratings.csv
	csvsplit -q ratings.csv
	encode-ids -q --users run/users.ids --items run/items.ids --out run train.csv valid.csv test.csv
	printf '%s\n' 'mf epochs 2 5' 'mf --factors 4 8 12 16' 'mf --lr 0.01 0.03' 'mf --weight-decay 0.1 1' \
		'ials epochs 2' 'ials --regularization 0' 'ials --unobserved 0' >grid
}

setup() {
	need flock
	fresh
	cp -r "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/grid" .
	tune=("$TOP/pipeline/tune" -g grid)
}

trained() { tail -n +2 run/tune/mf.tsv | wc -l; }

@test "the recipe is tried first, a third goes on, and the table is in order" {
	expect 0 "${tune[@]}" run mf 7 1
	awk -F '\t' 'NR == 2 { exit !($2 == 2 && $7 == "") }' run/tune/mf.tsv
	short=$(awk -F '\t' '$2 == 2' run/tune/mf.tsv | wc -l)
	[ "$short" -ge 4 ]
	[ "$(awk -F '\t' '$2 == 5' run/tune/mf.tsv | wc -l)" -eq $(((short + 2) / 3)) ]
	[ "$(tail -n +2 run/tune/mf.ranked.tsv | wc -l)" -eq "$short" ]
	awk -F '\t' 'NR > 2 { if ($1 > epochs || ($1 == epochs && $4 > ndcg)) exit 1 } { epochs = $1; ndcg = $4 }' run/tune/mf.ranked.tsv
	# What it says is best can be trained, and reaches what it says.
	read -ra best <run/tune/mf.best
	train-mlp -q "${best[@]}" --seed 1 --valid run/valid.rec --log log -o model run/train.rec
	[ "$(awk -F '\t' 'END { print $4 }' log)" = "$(awk -F '\t' 'NR == 2 { print $4 }' run/tune/mf.ranked.tsv)" ]
}

@test "nothing is trained twice; more trials and another seed add to it" {
	expect 0 "${tune[@]}" run mf 4 1
	cp run/tune/mf.tsv before
	cp run/tune/mf.ranked.tsv ranked
	expect 0 "${tune[@]}" run mf 4 1
	same before run/tune/mf.tsv
	same ranked run/tune/mf.ranked.tsv
	[ "$(grep -c 'is there' <<<"$stderr")" -eq "$(trained)" ]
	expect 0 "${tune[@]}" run mf 8 1
	head -c "$(stat -c %s before)" run/tune/mf.tsv | cmp - before
	count=$(trained)
	[ "$count" -gt "$(tail -n +2 before | wc -l)" ]
	expect 0 "${tune[@]}" run mf 2 2
	[ "$(trained)" -gt "$count" ]
	# Other data: all of it anew.
	count=$(trained)
	cp run/valid.rec run/train.rec
	expect 0 "${tune[@]}" run mf 4 1
	[ "$(trained)" -gt $((count + 3)) ]
}

@test "broken off and begun again: the table of a search that was not" {
	expect 0 "${tune[@]}" run mf 5 1
	mv run/tune whole
	# A train-mlp that fails the third time it is asked.
	mkdir bin
	printf '%s\n' '#!/bin/bash' 'echo >>asked' "[ \$(wc -l <asked) -ne 3 ] || exit 74" "exec '$BIN/train-mlp' \"\$@\"" >bin/train-mlp
	chmod +x bin/train-mlp
	run env PATH="$PWD/bin:$PATH" "${tune[@]}" run mf 5 1
	[ "$status" -eq 74 ]
	[ "$(trained)" -eq 2 ]
	expect 0 "${tune[@]}" run mf 5 1
	same <(cut -f 1-4 whole/mf.ranked.tsv) <(cut -f 1-4 run/tune/mf.ranked.tsv)
	same whole/mf.best run/tune/mf.best
}

@test "settings that do not work get a row; what is wrong is refused" {
	expect 0 "${tune[@]}" run ials 3 1
	[ "$(awk -F '\t' '$7 ~ /regularization 0/ { print $5 }' run/tune/ials.tsv)" = 0 ]
	[[ $(cat run/tune/ials.best) =~ ^"--model ials --epochs "[12]$ ]]
	fails 64 "TRIALS is 'many'" "${tune[@]}" run mf many 1
	fails 64 "no epochs for a model 'gmf'" "${tune[@]}" run gmf 3 1
	fails 66 "cannot be read" "${tune[@]}" nowhere mf 3 1
	fails 64 "unknown option '--no-such-option'" "${tune[@]}" run mf 1 1 --no-such-option
	flock run/tune/mf.lock sleep 2 &
	until ! flock -n run/tune/mf.lock true; do sleep 0.1; done
	fails 75 "another search" "${tune[@]}" run mf 3 1
	wait
}

@test "every model has a grid, and its options are known" {
	for model in mlp gmf neumf mf history ials; do
		expect 0 "$TOP/pipeline/tune" run "$model" 2 5 --layers 8-4-1 --patience 1
		[ -s "run/tune/$model.best" ]
	done
}

@test "make tune makes the parts it needs and no more" {
	not_sanitized
	expect 0 make -C "$TOP" -s BUILD="$(dirname "$BIN")" tune RUN="$PWD/made" GRID="$PWD/grid" MODEL=mf TRIALS=2 \
		SYNTH_USERS=60 SYNTH_ITEMS=100 SYNTH_RATINGS=2000
	[[ $output == *"best on the validation part: --model mf"* ]]
	[ -e made/tune/mf.ranked.tsv ]
	[ ! -e made/eval ]
}
