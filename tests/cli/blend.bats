#!/usr/bin/env bats
# rerank by signals: --by similarity, a blend fitted on the validation part and applied to the test part.

load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	synth-ratings -q --users 600 --items 300 --ratings 24000 --seed 11 -o ratings.csv --movies movies.csv
	csvsplit -q ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv valid.csv test.csv
	train-mlp -q --layers 16-8-1 -e 3 -o model.safetensors train.rec
	item-sim -q -r 100 -o ease.rec train.rec
	item-sim -q -m cosine -n 30 -o cosine.rec train.rec
	for part in valid test; do
		sample-neg -q --candidates 40 --known train.rec --known valid.rec --known test.rec -o $part.lists $part.rec
		score -q -m model.safetensors -o $part.scored $part.lists
		score -q -S cosine.rec -H train.rec -o $part.cosine $part.lists
		score -q -S ease.rec -H train.rec -o $part.ease $part.lists
	done
	head -n 31 valid.csv >few.csv
	encode-ids -q --frozen --users users.ids --items items.ids --out . few.csv
	sample-neg -q --candidates 9 --known train.rec --known valid.rec --known test.rec -o few.lists few.rec
	score -q -m model.safetensors -o few.scored few.lists
	rerank --fit blend.json --with cosine=valid.cosine --similarity ease=ease.rec --known train.rec --movies movies.csv \
		--items items.ids valid.scored
}

setup() {
	fresh
	F=$BATS_FILE_TMPDIR
	sources=(--similarity ease="$F/ease.rec" --known "$F/train.rec" --movies "$F/movies.csv" --items "$F/items.ids")
	fit=(--with cosine="$F/valid.cosine" "${sources[@]}")
	apply=(--by blend --blend "$F/blend.json" --with cosine="$F/test.cosine" "${sources[@]}")
}

rows() { recdump "$1" | grep -v '^#' | tail -n +2; }
ndcg() { metrics -q -B 0 "$1" | awk -F '\t' '$1 == "NDCG@10" { print $2 }'; }
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'; }
# names: the signals of a blend, with their decays
names() { awk -F '[",: ]+' '$2 == "name" { name = $3 } $2 == "decay" { printf "%s:%g ", name, $3 }' "$1"; }
# found NAME BLEND: what the fit found
found() { awk -F '[",: ]+' -v n="$1" '$2 == "fit" { fit = 1 } fit && $2 == n { print $3; exit }' "$2"; }

@test "a blend fitted on the validation part ranks the test part better than each of its scores" {
	rerank "${apply[@]}" -o blended "$F/test.scored"
	b=$(ndcg blended)
	for one in scored cosine ease; do
		above "$b" "$(ndcg "$F/test.$one")"
	done
	above "$b" "$(awk -v n="$(ndcg "$F/test.scored")" 'BEGIN { print n + 0.1 }')"
	# the same candidates with the same truth, in the order of scores
	cmp <(rows blended | cut -f 1,3,5,6 | sort) <(rows "$F/test.scored" | cut -f 1,3,5,6 | sort)
	rows blended | awk 'NR > 1 && $1 == user && $4 > score { exit 1 } { user = $1; score = $4 }'
}

@test "a blend: its signals, and what the fit found" {
	[ "$(names "$F/blend.json")" = "score:0 cosine:0 ease:0 ease:0.5 ease:1 popularity:0 recency:0 \
genres:0 genres:0.5 genres:1 years:0 years:0.5 years:1 " ]
	grep -q '"lists": 600,' "$F/blend.json"
	grep -q '"candidates": 24600,' "$F/blend.json"
	# better than equal scores, and than the model's score and popularity alone
	rerank --fit two.json "$F/valid.scored"
	[ "$(names two.json)" = "score:0 popularity:0 " ]
	above "$(found log_likelihood "$F/blend.json")" "$(found log_likelihood two.json)"
	above "$(found log_likelihood two.json)" "$(found log_likelihood_of_equal_scores two.json)"
	best=$(awk -F '[",: ]+' '$2 == "l2" { l2 = $3 } $2 == "held_out_log_likelihood" { print l2 "\t" $3 }' two.json |
		sort -t $'\t' -rgk 2 | head -n 1 | cut -f 1)
	[ "$(found l2 two.json)" = "$best" ]
	rerank --fit fixed.json --l2 7 "$F/valid.scored"
	grep -q '"l2": 7.0' fixed.json
	grep -q '"compared": \[\]' fixed.json
}

@test "fit and apply: any threads and instruction sets, file or pipe, one file or its halves: the same bytes" {
	rerank "${apply[@]}" -o blended "$F/test.scored"
	rerank --fit first.json --l2 3 "${fit[@]}" "$F/valid.scored"
	for threads in 1 2 3 8; do
		rerank --fit b.json --l2 3 -j $threads "${fit[@]}" "$F/valid.scored"
		same b.json first.json
		rerank "${apply[@]}" -j $threads "$F/test.scored" | cmp - blended
	done
	for isa in portable avx2 avx512; do
		expect 0 rerank --fit b.json --l2 3 --isa $isa "${fit[@]}" "$F/valid.scored" || { [ "$status" -eq 69 ] && continue; }
		same b.json first.json
		rerank "${apply[@]}" --isa $isa "$F/test.scored" | cmp - blended
	done
	rerank --fit - --l2 3 "${fit[@]}" <"$F/valid.scored" | cmp - first.json
	score -q -m "$F/model.safetensors" "$F/test.lists" | rerank "${apply[@]}" | cmp - blended
	{ head -n 1 "$F/train.csv" && tail -n +2 "$F/train.csv" | head -n 9000; } >a.csv
	{ head -n 1 "$F/train.csv" && tail -n +9002 "$F/train.csv"; } >b.csv
	encode-ids -q --frozen --users "$F/users.ids" --items "$F/items.ids" --out . a.csv b.csv
	rerank --fit b.json --l2 3 "${fit[@]:0:4}" --known b.rec --known a.rec "${fit[@]:6}" "$F/valid.scored"
	same b.json first.json
}

@test "another seed has other folds, and a penalty that is given needs none" {
	rerank --fit a.json --seed 1 "$F/valid.scored"
	rerank --fit b.json --seed 2 "$F/valid.scored"
	run ! cmp a.json b.json
	rerank --fit a.json --l2 3 --seed 1 "$F/valid.scored"
	rerank --fit b.json --l2 3 --seed 2 "$F/valid.scored"
	same a.json b.json
}

@test "--by similarity: the score and what the history says, standardised" {
	rerank --by similarity -w 0.7 -S "$F/ease.rec" -k "$F/train.rec" -o s.rec "$F/test.scored"
	rerank --by similarity -w 0.7 -S any="$F/ease.rec" -k "$F/train.rec" -j 3 --isa portable "$F/test.scored" | cmp - s.rec
	for user in 0 77 599; do
		for list in "$F/test.scored" "$F/test.ease" s.rec; do
			rows "$list" | awk -v u=$user '$1 == u { print $3 "\t" $4 }' | sort -n >"${list##*.}.one"
		done
		paste scored.one ease.one rec.one | awk '
			function deviation(x, mean, i, square) {
				for (i = 1; i <= NR; i++) mean += x[i] / NR
				for (i = 1; i <= NR; i++) square += (x[i] - mean) ^ 2 / NR
				for (i = 1; i <= NR; i++) x[i] = (x[i] - mean) / sqrt(square)
			}
			{ score[NR] = $2; says[NR] = $4; got[NR] = $6 }
			END {
				deviation(score); deviation(says)
				if (NR != 41) exit 1
				for (i = 1; i <= NR; i++) { d = score[i] + 0.7 * says[i] - got[i]; if (d * d > 1e-9) exit 1 }
			}'
	done
	above "$(ndcg s.rec)" "$(ndcg "$F/test.scored")"
	rerank --by similarity -w 0 -S "$F/ease.rec" -k "$F/train.rec" "$F/test.scored" -o zero.rec
	cmp <(rows zero.rec | cut -f 1-3) <(rows "$F/test.scored" | cut -f 1-3)
}

@test "a blocklist before a blend, a cut behind it: --with may have more, not less" {
	rerank "${apply[@]}" -o blended "$F/test.scored"
	decode-ids --list --items "$F/items.ids" | head -100 | cut -f 2 >gone.txt
	rerank --by blocklist --blocklist gone.txt "${apply[@]}" --top 5 -o b.rec "$F/test.scored"
	rows blended | awk '$3 >= 100 && ++n[$1] <= 5 { print $1, $3, $4 }' >expected
	rows b.rec | awk '{ print $1, $3, $4 }' | cmp - expected
	rerank --top 20 "$F/test.cosine" -o short.rec
	fails 65 "--with cosine: the list of user 0 lacks item" rerank "${apply[@]:0:4}" --with cosine=short.rec \
		"${sources[@]}" "$F/test.scored"
	rerank --by blocklist --blocklist <(decode-ids --list --items "$F/items.ids" | cut -f 2) --items "$F/items.ids" \
		-o empty.rec "$F/test.scored"
	rerank "${apply[@]}" empty.rec -o e.rec
	[ -z "$(rows e.rec)" ]
}

@test "as many sources as may be, and one more" {
	with=() similarity=()
	for n in {1..16}; do
		with+=(--with "w$n=$F/few.scored")
		similarity+=(--similarity "s$n=$F/cosine.rec")
	done
	all=("${with[@]}" "${similarity[@]}" "${sources[@]:2}")
	rerank --fit many.json --l2 3 "${all[@]}" "$F/few.scored"
	[ "$(grep -c '"name"' many.json)" -eq 73 ]
	rerank --by blend --blend many.json "${all[@]}" "$F/few.scored" | recdump --verify -
	fails 64 "--similarity: more than 16 of them" rerank --fit b.json "${all[@]}" -S more="$F/ease.rec" "$F/few.scored"
	fails 64 "--with: more than 16 of them" rerank --fit b.json "${all[@]}" --with more="$F/few.scored" "$F/few.scored"
}

@test "weights of a catalogue that has grown since: new items have none" {
	printf 'user,item,timestamp\nu,a,1\nu,b,2\nu,c,3\nv,a,1\nv,b,2\nw,d,1\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	item-sim -q -r 1 -o e.rec t.rec
	printf 'user,item,timestamp\nnew,a,5\nnew,e,6\n' >n.csv
	printf 'user,item,timestamp\nnew,c,7\nw,b,7\n' >x.csv
	encode-ids -q --update --unknown keep --users u.ids --items i.ids n.csv x.csv
	sample-neg -q --candidates 9 --known n.rec x.rec -o l.rec
	score --by popularity -o s.rec l.rec
	rerank --fit b.json -S e.rec -k n.rec s.rec
	rerank --by blend --blend b.json -S e.rec -k n.rec s.rec | recdump --verify -
	fails 65 "different items" rerank --fit b.json -S "$F/ease.rec" -k n.rec s.rec
	[[ $stderr == *"the same id map or one that grew from it"* ]]
}

@test "--fit leaves an old blend alone when it fails, and nothing where there was none" {
	cp "$F/blend.json" old.json
	head -c 20000 "$F/valid.scored" >cut
	fails 65 "cut" rerank --fit old.json cut
	fails 65 "expected candidates with the truth marked" rerank --fit old.json <(rerank --top 1 "$F/valid.scored")
	fails 65 "--with few: the list of user 0 lacks item" rerank --fit old.json --with few="$F/few.scored" "$F/valid.scored"
	score -q -m "$F/model.safetensors" -a -n 300 --user 0 -o all.rec
	fails 65 "all.rec ends before $F/few.scored does" rerank --fit old.json --with all=all.rec "$F/few.scored"
	same old.json "$F/blend.json"
	fails 65 "cut" rerank --fit new.json cut
	nothing_left new.json
	fails 73 "" rerank --fit nowhere/b.json "$F/few.scored"
	fails 74 "No space left" rerank --fit /dev/full "$F/few.scored"
	fails 74 "No space left" rerank "${apply[@]}" -o /dev/full "$F/test.scored"
}

@test "rerank by signals: usage" {
	L=$F/test.scored
	fails 64 "--by blend needs --blend" rerank --by blend "$L"
	fails 64 "--blend goes with --by blend" rerank --blend "$F/blend.json" --by popularity "$L"
	fails 64 "--with goes with --by blend" rerank --with a="$L" "$L"
	fails 64 "--l2 goes with --fit" rerank --l2 3 "$L"
	fails 64 "--l2" rerank --l2 -1 --fit b.json "$L"
	fails 64 "--fit makes a blend and no lists" rerank --fit b.json --by popularity "$L"
	fails 64 "--fit makes a blend and no lists" rerank --fit b.json --blend "$F/blend.json" "$L"
	fails 64 "--similarity needs --known" rerank --fit b.json --similarity "$F/ease.rec" "$L"
	fails 64 "--by similarity needs --known" rerank --by similarity --similarity "$F/ease.rec" "$L"
	fails 64 "--by similarity needs --similarity" rerank --by similarity --known "$F/train.rec" "$L"
	fails 64 "--movies needs --items" rerank --fit b.json --movies "$F/movies.csv" "$L"
	ln -s "$L" lists
	fails 64 "'lists' has no name, expected NAME=LISTS" rerank --fit b.json --with lists "$L"
	fails 64 "--with: '' names no signal" rerank --fit b.json --with =lists "$L"
	fails 64 "--with: the name 'popularity' is taken" rerank --fit b.json --with popularity=lists "$L"
	fails 64 "--with: the name 'a' is taken" rerank --fit b.json --with a=lists --with a=lists "$L"
	fails 64 "--similarity: the name 'a' is taken" rerank --fit b.json --with a=lists -S a="$F/ease.rec" -k "$F/train.rec" "$L"
	fails 64 "--similarity: the name 'similarity' is taken" rerank --fit b.json -S "$F/ease.rec" -S "$F/cosine.rec" \
		-k "$F/train.rec" "$L"
	fails 64 "unknown instruction set" rerank --fit b.json --isa mmx "$L"
	nothing_left b.json
}

@test "rerank by signals: inputs that do not fit" {
	L=$F/test.scored
	fails 65 "no scores yet" rerank --fit b.json --with a="$F/test.lists" "$L"
	fails 66 "cannot open" rerank --fit b.json --with a=nothing "$L"
	fails 66 "cannot open" rerank --fit b.json -S nothing -k "$F/train.rec" "$L"
	fails 66 "cannot open" rerank --by blend --blend nothing "$L"
	fails 65 "expected similarity" rerank --fit b.json -S "$F/train.rec" -k "$F/train.rec" "$L"
	fails 65 "weighs the signal 'cosine', expected a --with or --similarity" rerank --by blend --blend "$F/blend.json" \
		"${sources[@]}" "$L"
	fails 65 "weighs the signal 'ease', expected" rerank "${apply[@]:0:6}" "$L"
	fails 65 "weighs the signal 'genres', expected --known, --movies and --items" rerank "${apply[@]:0:10}" "$L"
	cut -d , -f 1,2 "$F/train.csv" >untimed.csv
	encode-ids -q --frozen --users "$F/users.ids" --items "$F/items.ids" --out . untimed.csv
	fails 65 "'ease', expected --known with times for its decay" rerank "${apply[@]:0:8}" --known untimed.rec \
		"${apply[@]:10}" "$L"
	rerank --fit untimed.json --l2 3 --similarity ease="$F/ease.rec" --known untimed.rec "$F/few.scored"
	rerank --by blend --blend untimed.json "${sources[@]}" "$L" | recdump --verify -
	sed -E 's/("weight": )-?[0-9]/\11e308/' "$F/blend.json" | sed -E 's/("weight": 1e308)[^,]*/\1/' >huge.json
	fails 65 "is not finite" rerank "${apply[@]:0:2}" --blend huge.json "${apply[@]:4}" -o out.rec "$L"
	nothing_left out.rec
	printf '{}' >b.json
	fails 65 "b.json: no blend, expected the JSON that rerank --fit writes" rerank --by blend --blend b.json "$L"
}
