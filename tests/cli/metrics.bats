#!/usr/bin/env bats
# metrics: estimates of the full ranking, groups of users, what lists show beside being right, formats.

load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	synth-ratings -q --users 300 --items 400 --ratings 15000 --seed 4 -o ratings.csv --movies movies.csv
	csvsplit -q --no-validation ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv test.csv
	train-mlp -q --model ials -e 4 --factors 16 -o model train.rec
	sample-neg -q --candidates 60 --known train.rec -o lists.rec test.rec
	score -m model -o scored.rec lists.rec
	score -q -m model -a -n 400 -k train.rec -t test.rec -o full.rec
	score -q -m model -a -n 20 -k train.rec -o top.rec
}

setup() {
	fresh
	F=$BATS_FILE_TMPDIR
	K=(--known "$F/train.rec")
	C=(--movies "$F/movies.csv" --items "$F/items.ids")
}

# figure NAME [COLUMN]: of the table on stdin
figure() { awk -F '\t' -v m="$1" -v c="${2:-2}" '$1 == m { print $c; exit }'; }

@test "the estimate comes nearer to the full ranking than the sampled figure, over draws" {
	full=$(metrics -B 0 -m HR "$F/full.rec" | figure HR@10)
	for draw in 1 2 3 4; do
		sample-neg -q --candidates 60 --draw $draw "${K[@]}" "$F/test.rec" | score -m "$F/model" |
			metrics -B 0 -m HR --correct least-squares "${K[@]}" | awk -F '\t' '$1 == "HR@10" { print $2, $5 }'
	done | awk -v full="$full" '{ sampled += $1; estimate += $2 }
		END { sampled /= NR; estimate /= NR; print full, sampled, estimate
			exit !((estimate - full) ^ 2 < 0.04 ^ 2 && sampled - full > 0.2) }'
}

@test "estimates are labelled, beside the sampled figures, in every format" {
	expect 0 metrics -m HR -m AUC --correct least-squares --gamma 0.1 "${K[@]}" "$F/scored.rec"
	[[ $output == *$'full_estimates_by\tleast-squares\ngamma\t0.1\n'* ]]
	[[ $output == *$'measure\tmean\tlow95\thigh95\tfull_estimate\tfull_low95\tfull_high95\n'* ]]
	[ "$(figure HR@10 <<<"$output")" = "$(metrics -m HR "$F/scored.rec" | figure HR@10)" ]
	# nothing to correct: AUC of a sample is not biased
	[ "$(figure AUC 5 <<<"$output")" = "" ]
	expect 0 metrics -f text -m HR --correct rank "${K[@]}" "$F/scored.rec"
	[[ $output == *"full: what the sampled ranks say of a full ranking, an estimate by rank"* ]]
	[ "$(grep -c 'HR@10.*full:' <<<"$output")" -eq 1 ]
	need jq
	metrics --json -m HR --correct rank "${K[@]}" "$F/scored.rec" >m.json
	[ "$(jq -r .full_estimates_by m.json)" = rank ]
	jq -e '.measures["HR@10"].full_estimate | .low95 <= .mean and .mean <= .high95' m.json
}

@test "each user's estimate is written, and gates and comparisons know it" {
	metrics -B 0 -m HR --correct rank "${K[@]}" -p users.tsv "$F/scored.rec" >table
	[ "$(head -1 users.tsv)" = $'user\tHR@10\tHR@10.full_estimate' ]
	[ "$(awk -F '\t' 'NR > 1 { s += $3; n++ } END { printf "%.6f", s / n }' users.tsv)" = "$(figure HR@10 5 <table)" ]
	fails 1 "gate not met: HR@10.full_estimate" metrics -m HR --correct rank "${K[@]}" -g HR@10.full_estimate:0.99 "$F/scored.rec"
	metrics -m HR --correct rank "${K[@]}" --compare "$F/scored.rec" "$F/scored.rec" |
		awk -F '\t' '$1 == "HR@10.full_estimate" && $4 == 0 { found = 1 } END { exit !found }'
}

@test "--correct: what it cannot be told from is refused" {
	fails 64 "--correct needs --known" metrics --correct rank "$F/scored.rec"
	fails 64 "these lists are a full ranking" metrics --correct rank "${K[@]}" "$F/full.rec"
	fails 64 "--gamma" metrics --correct least-squares --gamma 0 "${K[@]}" "$F/scored.rec"
	rerank --top 3 -o cut.rec "$F/scored.rec"
	fails 65 "has lost the relevant item" metrics -k 3 --correct rank "${K[@]}" cut.rec
	printf 'user,item\nu,a\nv,b\nw,c\nw,d\nw,e\n' >t.csv
	printf 'user,item\nu,b\nu,c\n' >x.csv
	printf 'user,item\nu,a\nu,c\nu,d\n' >more.csv
	printf 'user,item\nu,b\n' >y.csv
	printf '(u,b)\n' >given
	encode-ids -q --users u.ids --items i.ids t.csv x.csv more.csv y.csv
	sample-neg -q --candidates 2 --known t.rec x.rec | score --by popularity -o s.rec
	fails 65 "has 2 relevant items" metrics --correct rank --known t.rec s.rec
	sample-neg -q --candidates 3 --known t.rec y.rec | score --by popularity -o s.rec
	expect 0 metrics --correct rank --known t.rec s.rec
	fails 65 "3 candidates, but only 1 items that --known lacks" metrics --correct rank --known more.rec s.rec
	sample-neg -q --given given --users u.ids --items i.ids --known t.rec y.rec | score --by popularity -o s.rec
	fails 65 "no candidate beside the relevant item" metrics --correct rank --known t.rec s.rec
}

# groups: of a table on stdin, the rows of the groups: by from to users measure mean …
groups() { awk -F '\t' '$1 == "group_by" { on = 1; next } on'; }

@test "--by: groups of quantiles hold everybody, and their means make up the mean" {
	expect 0 metrics -B 0 -m NDCG -m novelty "${K[@]}" --by activity --by popularity --groups 3 "$F/scored.rec"
	echo "$output" >table
	for by in activity popularity; do
		groups <table | awk -F '\t' -v by=$by '$1 == by && $5 == "NDCG@10" { if (n++ && $2 <= last) exit 1; last = $3 }
			END { exit n != 3 }'
		for measure in NDCG@10 novelty@10; do
			groups <table | awk -F '\t' -v by=$by -v m=$measure -v want="$(figure $measure <table)" -v users="$(figure users <table)" '
				$1 == by && $5 == m { s += $4 * $6; n += $4 }
				END { exit !(n == users && (s / n - want) ^ 2 < 1e-11) }'
		done
	done
	# the bounds are what they are called: the least and the most active user
	recdump "$F/train.rec" | grep -v '^#' | tail -n +2 | cut -f1 | sort | uniq -c | awk '{ print $1 }' | sort -n >counts
	[ "$(groups <table | awk -F '\t' '$1 == "activity" { print $2; exit }')" -ge "$(head -1 counts)" ]
	[ "$(groups <table | awk -F '\t' '$1 == "activity" { to = $3 } END { print to }')" -eq "$(tail -1 counts)" ]
	need jq
	metrics --json "${K[@]}" --by activity "$F/scored.rec" | jq -e '.groups | length == 4 and .[0].by == "activity" and .[0].measures["HR@10"].high95 > 0'
	metrics -f text "${K[@]}" --by activity "$F/scored.rec" | grep -c '^known interactions of the user from .* users$' | grep -qx 4
}

@test "--by popularity: from the list, or from --truth and --known where lists are cut" {
	metrics -B 0 -m HR --by popularity "$F/full.rec" | groups >whole
	rerank --top 10 -o cut.rec "$F/full.rec"
	fails 64 "needs --truth and --known" metrics -m HR --by popularity cut.rec
	metrics -B 0 -m HR --by popularity "${K[@]}" --truth "$F/test.rec" cut.rec | groups | cmp - whole
}

@test "--by: fewer groups than asked are told, unless quiet" {
	expect 0 metrics -m HR "${K[@]}" --by popularity --groups 16 --truth "$F/test.rec" "$F/scored.rec"
	{ echo user,item; for u in 1 2 3 4; do echo "u$u,i$u"; done; echo u5,i5; echo u5,i1; } >t.csv
	{ echo user,item; for u in 1 2 3 4; do echo "u$u,i5"; done; } >x.csv
	encode-ids -q --users u.ids --items i.ids t.csv x.csv
	sample-neg -q --candidates 2 --known t.rec x.rec | score --by popularity -o s.rec
	expect 0 metrics --by activity --known t.rec s.rec
	[[ $stderr == *"1 groups by activity, not 4"* ]]
	expect 0 metrics -q --by activity --known t.rec s.rec
	[ -z "$stderr" ]
}

@test "--by: usage" {
	fails 64 "expected activity or popularity" metrics --by age "$F/scored.rec"
	fails 64 "--by activity needs --known" metrics --by activity "$F/scored.rec"
	fails 64 "--groups" metrics --by popularity --groups 17 "$F/scored.rec"
	fails 64 "--compare excludes" metrics --by popularity --compare "$F/scored.rec" "$F/scored.rec"
}

@test "beyond accuracy: printed where the files allow, each by hand" {
	# u knows a (x|y), v knows b (y); w makes both more popular than c.
	printf 'user,item\nu,a\nv,b\nw,a\nw,b\nw,c\n' >t.csv
	printf 'user,item\nu,b\nv,a\n' >x.csv
	printf 'movieId,title,genres\na,A,x|y\nb,B,y\nc,C,(no genres listed)\n' >m.csv
	encode-ids -q --users u.ids --items i.ids t.csv x.csv
	score -q --by popularity -a -n 1 -k t.rec -t x.rec -o s.rec
	metrics -B 0 -k 1 --known t.rec --movies m.csv --items i.ids s.rec >table
	# u is shown b and v a, each known to 2 of 3
	[ "$(figure novelty@1 <table)" = 0.584963 ]
	[ "$(figure ILD@1 <table)" = 0.000000 ]
	# u: half x, half y against y; v: y against half and half
	[ "$(figure miscalibration@1 <table)" = "$(awk 'BEGIN { printf "%.6f", (0.5 * log(0.5 / 0.005) + 0.5 * log(0.5 / 0.995) + log(1 / 0.505)) / 2 }')" ]
	[ "$(figure coverage@1 <table)" = 0.666667 ]
	[ "$(figure Gini@1 <table)" = 0.500000 ]
	[ "$(figure longtail@1 <table)" = 0.000000 ]
	metrics -B 0 -k 1 s.rec >table
	[ -z "$(figure novelty@1 <table)$(figure ILD@1 <table)" ]
	[ -n "$(figure Gini@1 <table)" ]
	metrics -B 0 -k 1 -m coverage s.rec >table
	[ "$(sed -n '/^measure/,$p' table | wc -l)" -eq 2 ]
}

@test "beyond accuracy needs no truth, unless a measure beside it does" {
	expect 0 metrics -B 0 "${K[@]}" "${C[@]}" -m novelty -m ild -m miscalibration -m Gini "$F/top.rec"
	[ "$(figure users <<<"$output")" -eq 300 ]
	[ "$(awk -F '\t' '$1 == "ILD@10" && $2 > 0 && $2 < 1 { n++ } $1 == "novelty@10" && $2 > 0 { n++ }
		$1 == "miscalibration@10" && $2 > 0 { n++ } $1 == "Gini@10" && $2 > 0.3 && $2 < 1 { n++ } END { print n }' <<<"$output")" -eq 4 ]
	fails 65 "no list has a relevant item" metrics "${K[@]}" -m novelty -m HR "$F/top.rec"
	expect 0 metrics -g novelty@10:0.1 -m novelty "${K[@]}" "$F/top.rec"
	fails 1 "gate not met: novelty@10" metrics -g novelty@10:99 -m novelty "${K[@]}" "$F/top.rec"
}

@test "beyond accuracy: missing and mixed-up files" {
	fails 64 "novelty needs --known" metrics -m novelty "$F/scored.rec"
	fails 64 "ILD needs --movies and --items" metrics -m ild "${K[@]}" "$F/scored.rec"
	fails 64 "miscalibration needs --known" metrics -m miscalibration "${C[@]}" "$F/scored.rec"
	fails 64 "--movies and --items go together" metrics --movies "$F/movies.csv" "$F/scored.rec"
	fails 64 "--movies and --items go together" metrics --items "$F/items.ids" "$F/scored.rec"
	fails 65 "different items" metrics --movies "$F/movies.csv" --items "$F/users.ids" "$F/scored.rec"
	fails 66 "cannot open" metrics --movies nothing --items "$F/items.ids" "$F/scored.rec"
	fails 66 "cannot open" metrics --known nothing "$F/scored.rec"
	printf 'user,item\nu,a\nv,b\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	fails 65 "different users" metrics --known t.rec "$F/scored.rec"
	fails 64 "named too often" metrics -m gini -m gini -m gini -m gini -m gini "$F/scored.rec"
}

@test "formats: the same figures as TSV, JSON and text; a comparison as well" {
	need jq
	metrics -m HR -k 3,10 "$F/scored.rec" >t
	metrics -m HR -k 3,10 -f json "$F/scored.rec" >j
	metrics -m HR -k 3,10 --json -j 3 -B 20000 "$F/scored.rec" >threads
	metrics -m HR -k 3,10 --json -j 1 -B 20000 "$F/scored.rec" | cmp - threads
	metrics -m HR -k 3,10 --json "$F/scored.rec" | cmp - j
	metrics -m HR -k 3,10 -f text "$F/scored.rec" >x
	[ "$(figure HR@3 3 <t)" = "$(jq '.measures["HR@3"].low95' j | awk '{ printf "%.6f", $1 }')" ]
	grep -q "HR@3 .* $(figure HR@3 <t | awk '{ printf "%.4f", $1 }') \[" x
	head -1 x | grep -qx 'sampled ranking, lists of 61 to 61 items'
	score --by popularity -o p.rec "$F/lists.rec"
	metrics -m HR --compare "$F/scored.rec" p.rec >t
	[ "$(metrics -m HR --compare --json "$F/scored.rec" p.rec | jq '.["HR@10"].p' | awk '{ printf "%.6f", $1 }')" = "$(figure HR@10 7 <t)" ]
	metrics -m HR --compare -f text "$F/scored.rec" p.rec | grep -q "HR@10 .* $(figure HR@10 4 <t | awk '{ printf "%.4f", $1 }') \["
	metrics -m HR --compare "$F/scored.rec" "$F/top.rec" 2>&1 | grep -q "no list has a relevant item"
	: >empty
	fails 65 "empty" metrics --compare "$F/scored.rec" empty
	score -q -m "$F/model" -a -n 400 -k "$F/train.rec" -t "$F/test.rec" --user 3 --user 5 -o two.rec
	fails 65 "have not the same users" metrics --compare "$F/full.rec" two.rec
}
