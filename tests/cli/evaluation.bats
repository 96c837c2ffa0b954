#!/usr/bin/env bats
# sample-neg, score and metrics together: honest figures, from files or pipes, and their errors.

load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	synth-ratings -q --users 120 --items 300 --ratings 6000 --seed 3 -o ratings.csv --movies movies.csv
	csvsplit -q ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv valid.csv test.csv
	train-mlp -q --layers 16-8-1 -e 3 -o model.safetensors train.rec
	sample-neg -q --candidates 50 --known train.rec --known valid.rec -o lists.rec test.rec
	score -m model.safetensors -o scored.rec lists.rec
}

setup() {
	fresh
	F=$BATS_FILE_TMPDIR
}

figure() { awk -F '\t' -v m="$1" '$1 == m { print $2 }'; }

@test "candidates: the truth and unseen items, none twice, none known" {
	recdump "$F/lists.rec" | grep -v '^#' | tail -n +2 >rows
	for part in train valid test; do recdump "$F/$part.rec" | grep -v '^#' | tail -n +2 | cut -f1,2 | sort >$part.pairs; done
	awk '$6 == 0 { print $1 "\t" $3 }' rows | sort >negatives
	awk '$6 == 1 { print $1 "\t" $3 }' rows | sort >truth
	cmp truth test.pairs
	[ -z "$(uniq -d negatives)" ]
	[ -z "$(comm -12 negatives <(sort train.pairs valid.pairs test.pairs))" ]
	[ "$(wc -l <negatives)" -eq $((50 * $(wc -l <truth))) ]
}

@test "another draw has other candidates, the same one the same" {
	sample-neg -q --candidates 50 --known "$F/train.rec" --known "$F/valid.rec" "$F/test.rec" | cmp - "$F/lists.rec"
	! sample-neg -q --candidates 50 --draw 1 --known "$F/train.rec" --known "$F/valid.rec" "$F/test.rec" | cmp -s - "$F/lists.rec"
}

@test "a user who has seen nearly everything gets as many as exist, and is counted" {
	printf 'user,item\nu,a\nu,b\nu,c\nv,d\nv,e\n' >t.csv
	printf 'user,item\nu,d\n' >x.csv
	encode-ids -q --users u.ids --items i.ids t.csv x.csv
	expect 0 sample-neg --candidates 3 --known t.rec -o l.rec x.rec
	[[ $stderr == *"1 users have fewer unseen items"* ]]
	[ "$(recdump l.rec | grep -vc '^[#u]')" -eq 2 ]
}

@test "given candidates: own test item and doubles dropped, known ones refused" {
	printf 'user,item\nu,a\nv,b\nw,c\nw,d\nw,e\n' >t.csv
	printf 'user,item\nu,b\n' >x.csv
	encode-ids -q --users u.ids --items i.ids t.csv x.csv
	printf '(u,b)\tc\td\tb\td\te\n' >given
	expect 0 sample-neg --given given --users u.ids --items i.ids --known t.rec -o l.rec x.rec
	[[ $stderr == *"1 candidates dropped: the user's own test item"* ]]
	[[ $stderr == *"1 candidates dropped: given twice"* ]]
	[ "$(recdump l.rec | grep -vc '^[#u]')" -eq 4 ]
	printf '(u,b)\tc\ta\n' >given
	fails 65 "given:1: the user knows item 'a'" sample-neg --given given --users u.ids --items i.ids --known t.rec -o l2.rec x.rec
	nothing_left l2.rec
	expect 0 sample-neg --allow-known --given given --users u.ids --items i.ids --known t.rec -o l2.rec x.rec
	printf '(u,zz)\tc\n' >given
	fails 65 "unknown item 'zz'" sample-neg --given given --users u.ids --items i.ids --known t.rec x.rec
	printf 'nonsense\n' >given
	fails 65 "expected (user,item)" sample-neg --given given --users u.ids --items i.ids --known t.rec x.rec
	fails 65 "different items" sample-neg --given given --users u.ids --items u.ids --known t.rec x.rec
}

@test "samples: epochs of every positive, never a known item, any threads the same bytes" {
	sample-neg -q --ratio 3 --epochs 2 -j 1 -o one.rec "$F/train.rec"
	sample-neg -q --ratio 3 --epochs 2 -j 3 "$F/train.rec" | cmp - one.rec
	recdump one.rec | grep -v '^#' | tail -n +2 >rows
	recdump "$F/train.rec" | grep -v '^#' | tail -n +2 | cut -f1,2 | sort >known
	half=$(($(wc -l <rows) / 2))
	head -n $half rows | cut -f1,2 | sort | cmp - known
	tail -n $half rows | cut -f1,2 | sort | cmp - known
	! head -n $half rows | cmp -s - <(tail -n $half rows)
	awk '{ for (i = 3; i <= NF; i++) print $1 "\t" $i }' rows | sort -u >negatives
	[ -z "$(comm -12 negatives known)" ]
}

@test "sample-neg: usage and mixed-up maps" {
	fails 64 "needs --known" sample-neg --candidates 5 "$F/test.rec"
	fails 64 "--known goes with" sample-neg --known "$F/train.rec" "$F/train.rec"
	fails 64 "--ratio" sample-neg --ratio 9999 "$F/train.rec"
	printf 'user,item\nu,a\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	fails 65 "different users" sample-neg --candidates 5 --known t.rec "$F/test.rec"
	fails 65 "expected interactions" sample-neg "$F/lists.rec"
	fails 74 "No space left" sample-neg -o /dev/full "$F/train.rec"
}

@test "score: any threads and instruction sets give the same bytes, a pipe as well" {
	for isa in auto avx2 portable; do
		score -m "$F/model.safetensors" --isa $isa -j 2 "$F/lists.rec" | cmp - "$F/scored.rec" || [ $isa = avx2 ]
	done
	score -m "$F/model.safetensors" -j 1 <"$F/lists.rec" | cmp - "$F/scored.rec"
	score -m "$F/model.safetensors" -a -n 7 -k "$F/train.rec" -q -j 1 -o a.rec
	score -m "$F/model.safetensors" -a -n 7 -k "$F/train.rec" -q -j 3 --isa portable | cmp - a.rec
}

@test "score --all-items: seen items left out, best first, the named users alone" {
	score -m "$F/model.safetensors" -a -n 5 -k "$F/train.rec" -q -o a.rec
	recdump a.rec | grep -v '^#' | tail -n +2 >rows
	[ "$(wc -l <rows)" -eq $((5 * 120)) ]
	awk '$1 == user && $4 > score { exit 1 } { user = $1; score = $4 }' rows
	recdump "$F/train.rec" | grep -v '^#' | tail -n +2 | cut -f1,2 | sort >known
	[ -z "$(cut -f1,3 rows | sort | comm -12 - known)" ]
	id=$(decode-ids --list --users "$F/users.ids" | awk -F '\t' '$1 == 7 { print $2 }')
	score -m "$F/model.safetensors" -a -n 5 -k "$F/train.rec" -q --users "$F/users.ids" --user "$id" -o one.rec
	recdump one.rec | grep -v '^#' | tail -n +2 | cmp - <(awk '$1 == 7' rows)
	fails 65 "not in the id map" score -m "$F/model.safetensors" -a --users "$F/users.ids" --user nobody
}

@test "score: usage, other maps, a damaged model" {
	fails 64 "--model is missing" score "$F/lists.rec"
	fails 64 "exclude each other" score -m "$F/model.safetensors" --by random "$F/lists.rec"
	fails 64 "needs --known" score -a --by popularity
	fails 64 "go with --all-items" score -m "$F/model.safetensors" --truth "$F/test.rec" "$F/lists.rec"
	fails 66 "cannot open" score -m nothing "$F/lists.rec"
	fails 64 "unknown instruction set" score -m "$F/model.safetensors" --isa mmx "$F/lists.rec"
	head -c 3000 "$F/model.safetensors" >cut
	fails 65 "cut" score -m cut "$F/lists.rec"
	printf 'user,item\nu,a\nv,b\n' >t.csv
	printf 'user,item\nu,b\n' >x.csv
	encode-ids -q --users u.ids --items i.ids t.csv x.csv
	sample-neg -q --candidates 1 --known t.rec x.rec -o l.rec
	fails 65 "different users" score -m "$F/model.safetensors" l.rec
}

@test "metrics: a table, JSON, per user, gates" {
	expect 0 metrics -k 5,10 "$F/scored.rec"
	[[ $output == *$'ranking\tsampled'* ]]
	hr=$(figure HR@10 <<<"$output")
	[ "$(awk -v a="$hr" 'BEGIN { print (a > 0.15) }')" -eq 1 ]
	metrics -k 5,10 --json "$F/scored.rec" | grep -q '"HR@10"'
	metrics -p users.tsv -B 0 "$F/scored.rec" >/dev/null
	[ "$(awk -F '\t' 'NR > 1 { s += $2; n++ } END { printf "%.6f", s / n }' users.tsv)" = "$hr" ]
	expect 0 metrics -g "HR@10:0.01" "$F/scored.rec"
	fails 1 "gate not met: HR@10" metrics -g "HR@10:0.999" "$F/scored.rec"
	[[ $output == *HR@10* ]]
	fails 64 "--gate" metrics -g "HR@7:0.1" "$F/scored.rec"
	fails 64 "--gate" metrics -g "HR@10" "$F/scored.rec"
}

@test "metrics: a model beats popularity, popularity beats chance, a model equals itself" {
	score --by popularity -o p.rec "$F/lists.rec"
	score --by random -o r.rec "$F/lists.rec"
	p=$(metrics -B 0 p.rec | figure NDCG@10)
	r=$(metrics -B 0 r.rec | figure NDCG@10)
	[ "$(awk -v p="$p" -v r="$r" 'BEGIN { print (p > 2 * r) }')" -eq 1 ]
	metrics --compare "$F/scored.rec" "$F/scored.rec" | awk -F '\t' 'NR > 1 && ($4 != 0 || $7 != 1) { exit 1 }'
	metrics --compare r.rec p.rec | awk -F '\t' '$1 == "NDCG@10" && !($4 > 0 && $7 < 0.01) { exit 1 }'
}

@test "metrics: a constant model scores 0 and every user is tied, behind rerank as well" {
	# Every item is known to one user: popularity is 1 everywhere, a constant score.
	{ echo user,item; for i in $(seq 60); do echo "u$((i % 3)),i$i"; done; } >t.csv
	{ echo user,item; for u in 0 1 2; do echo "u$u,i$((u + 10))"; done; } >x.csv
	encode-ids -q --users u.ids --items i.ids t.csv x.csv
	sample-neg -q --candidates 30 --known t.rec x.rec -o l.rec
	score --by popularity l.rec -o s.rec
	for lists in s.rec <(rerank --by popularity s.rec); do
		metrics -B 0 "$lists" >m
		[ "$(figure tied_users <m)" = 1.000000 ]
		[ "$(figure HR@10 <m)" = 0.000000 ]
		[ "$(figure NDCG@10 <m)" = 0.000000 ]
	done
}

@test "metrics: truth of its own, unscored and cut lists refused, errors" {
	metrics -B 0 --truth "$F/test.rec" "$F/scored.rec" | cmp - <(metrics -B 0 "$F/scored.rec")
	fails 65 "no scores yet" metrics "$F/lists.rec"
	score -m "$F/model.safetensors" -a -n 5 -k "$F/train.rec" -t "$F/test.rec" -q -o full.rec
	expect 0 metrics -k 5 full.rec
	[[ $output == *$'ranking\tfull'* ]]
	fails 64 "cut to 5 items" metrics -k 10 full.rec
	fails 64 "unknown measure" metrics -m NDGC "$F/scored.rec"
	fails 64 "--compare" metrics "$F/scored.rec" "$F/scored.rec"
	fails 65 "no list has a relevant item" metrics -k 5 <(score -m "$F/model.safetensors" -a -n 5 -q)
	fails 65 "expected lists" metrics "$F/train.rec"
	fails 74 "No space left" metrics -o /dev/full "$F/scored.rec"
	head -c 2000 "$F/scored.rec" >cut
	fails 65 "end block" metrics cut
}

@test "a producer that dies is told from the end, a consumer that leaves ends it quietly" {
	set +o pipefail
	head -c 5000 "$F/lists.rec" | score -m "$F/model.safetensors" >out 2>err && return 1
	grep -q "producer died" err
	score -m "$F/model.safetensors" -a -q "-k$F/train.rec" -n 300 2>err | head -c 10 >/dev/null
	[ ! -s err ]
}
