#!/usr/bin/env bats
# item-sim, and score --similarity: weights that recommend, the same bytes from anything, and their errors.

load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	synth-ratings -q --users 120 --items 300 --ratings 6000 --seed 3 -o ratings.csv
	csvsplit -q ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv valid.csv test.csv
	sample-neg -q --candidates 50 --known train.rec --known valid.rec -o lists.rec test.rec
	item-sim -q -r 20 -o ease.rec train.rec
	item-sim -q -m cosine -n 30 -o cosine.rec train.rec
	score --similarity ease.rec --history train.rec -o scored.rec lists.rec
}

setup() {
	fresh
	F=$BATS_FILE_TMPDIR
}

rows() { recdump "$@" | grep -v '^#' | tail -n +2; }
figure() { awk -F '\t' -v m="$1" '$1 == m { print $2 }'; }

@test "item-sim: whole weights, their metadata, and words about it" {
	expect 0 item-sim -r 20 -o e.rec "$F/train.rec"
	[[ $stderr == "item-sim: 300 items: counted in "*"peak memory "* ]]
	same e.rec "$F/ease.rec"
	recdump --verify e.rec "$F/cosine.rec"
	recdump --json "$F/ease.rec" >json
	grep -q '"method": "ease"' json
	grep -q '"options": "regularization=20"' json
	grep -Eq '"known": "[0-9a-f]{32}"' json
	recdump --json "$F/cosine.rec" | grep -q '"shrinkage": 20'
	[ "$(rows "$F/ease.rec" | wc -l)" -eq $((300 * 299)) ]
	[ "$(rows "$F/cosine.rec" | cut -f 2 | sort | uniq -c | awk '$1 > 30' | wc -l)" -eq 0 ]
}

@test "item-sim: any threads and instruction sets, file or pipe, one file or its halves: the same bytes" {
	for isa in portable avx2 avx512; do
		expect 0 item-sim -q -r 20 --isa $isa -j 3 -o e.rec "$F/train.rec" || { [ "$status" -eq 69 ] && continue; }
		same e.rec "$F/ease.rec"
	done
	item-sim -q -r 20 -j 1 - <"$F/train.rec" | cmp - "$F/ease.rec"
	{ head -n 1 "$F/train.csv" && tail -n +2 "$F/train.csv" | head -n 3000; } >a.csv
	{ head -n 1 "$F/train.csv" && tail -n +3002 "$F/train.csv"; } >b.csv
	encode-ids -q --frozen --users "$F/users.ids" --items "$F/items.ids" --out . a.csv b.csv
	item-sim -q -r 20 a.rec b.rec | cmp - "$F/ease.rec"
	expect 0 item-sim -r 20 -j 1 -o a.weights a.rec # half of the pairs: by way of the users
	[[ $stderr == *"inverted (120 by 120)"* ]]
	item-sim -q -r 20 -j 3 --isa portable a.rec | cmp - a.weights
	score --similarity "$F/ease.rec" --history a.rec --history b.rec "$F/lists.rec" | cmp - "$F/scored.rec"
}

@test "item-sim --items-max: the most popular items alone have weights" {
	item-sim -q -r 20 --items-max 40 -o e.rec "$F/train.rec"
	rows e.rec | cut -f 1 | sort -u >items
	rows e.rec | cut -f 2 | sort -u | cmp - items
	[ "$(wc -l <items)" -eq 40 ]
	rows "$F/train.rec" | cut -f 2 | sort | uniq -c | awk '{ print $2 "\t" $1 }' | sort >popularity
	least=$(join items popularity | sort -nk 2 | head -n 1 | cut -d ' ' -f 2)
	[ "$(join -v 2 items popularity | awk -v least="$least" '$2 > least' | wc -l)" -eq 0 ]
}

@test "item-sim --window, --forward: what is near and what follows in the order of time" {
	printf 'user,item,timestamp\nu,a,3\nu,b,1\nu,c,2\nv,b,5\nv,a,5\nw,b,1\nw,d,2\nw,e,3\nw,a,4\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	counts() { # item, neighbour, count: weights times their lengths
		item-sim -q -m cosine -s 0 "$@" -o w.rec t.rec
		rows w.rec | awk 'BEGIN { split("a b c d e", n, " "); split("3 3 1 1 1", p, " ") }
			{ printf "%s%s%.0f ", n[$1 + 1], n[$2 + 1], $3 * sqrt(p[$1 + 1] * p[$2 + 1]) }'
	}
	# by time: u is b c a, v is a b (a tie: the lower id first), w is b d e a
	[ "$(counts)" = "ab3 ac1 ad1 ae1 ba3 bc1 bd1 be1 ca1 cb1 da1 db1 de1 ea1 eb1 ed1 " ]
	[ "$(counts --window 1)" = "ab1 ac1 ae1 ba1 bc1 bd1 ca1 cb1 db1 de1 ea1 ed1 " ]
	[ "$(counts --forward)" = "ab1 ba2 bc1 bd1 be1 ca1 da1 de1 ea1 " ]
	[ "$(counts --forward --window 2)" = "ab1 ba1 bc1 bd1 be1 ca1 da1 de1 ea1 " ]
	recdump --json w.rec >json
	grep -q '"window": 2' json
	grep -q '"forward": true' json
	cp w.rec first.rec
	item-sim -q -m cosine -s 0 -f -w 2 --isa portable -j 3 - <t.rec | cmp - first.rec
	item-sim -q -m cosine -s 0 -f -w 2 -n 4 t.rec | recdump --verify -
	cut -d , -f 1,2 t.csv >untimed.csv
	encode-ids -q --users u.ids --items i.ids --frozen untimed.csv
	fails 65 "untimed.rec: interactions without times" item-sim -m cosine -w 3 -o e.rec untimed.rec
	fails 65 "t.rec and others: interactions without times" item-sim -m cosine -f -o e.rec t.rec untimed.rec
	nothing_left e.rec
	expect 0 item-sim -q -m cosine -o e.rec untimed.rec
}

@test "item-sim: usage, memory, inputs, a full disk" {
	fails 64 "FILE" item-sim
	fails 64 "--shrinkage goes with --method cosine" item-sim -s 3 "$F/train.rec"
	fails 64 "--regularization goes with --method ease" item-sim -m cosine -r 3 "$F/train.rec"
	fails 64 "--items-max goes with --method ease" item-sim -m cosine --items-max 3 "$F/train.rec"
	fails 64 "--window goes with --method cosine" item-sim -w 3 "$F/train.rec"
	fails 64 "--forward goes with --method cosine" item-sim --forward "$F/train.rec"
	fails 64 "--regularization" item-sim -r 0 "$F/train.rec"
	fails 64 "--dropout" item-sim -p 1 "$F/train.rec"
	fails 64 "--method" item-sim -m nearest "$F/train.rec"
	fails 64 "unknown instruction set" item-sim --isa mmx "$F/train.rec"
	fails 71 "EASE of 300 items needs" item-sim --memory 1M -o e.rec "$F/train.rec"
	[[ $stderr == *"--items-max "*"would fit"* ]]
	nothing_left e.rec
	fails 66 "cannot open" item-sim nothing
	fails 65 "expected interactions" item-sim "$F/lists.rec"
	head -c 3000 "$F/train.rec" >cut
	fails 65 "end block" item-sim -o e.rec cut
	nothing_left e.rec
	printf 'user,item\nu,a\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	fails 65 "different users" item-sim "$F/train.rec" t.rec
	fails 74 "No space left" item-sim -q -o /dev/full "$F/train.rec"
	fails 73 "" item-sim -q -o nowhere/e.rec "$F/train.rec"
}

@test "score --similarity: better than popularity, the same by any threads and instruction sets" {
	for isa in portable avx2 avx512; do
		expect 0 score -S "$F/ease.rec" -H "$F/train.rec" --isa $isa -j 3 -o s.rec "$F/lists.rec" ||
			{ [ "$status" -eq 69 ] && continue; }
		same s.rec "$F/scored.rec"
	done
	score --by similarity -S "$F/ease.rec" -H "$F/train.rec" -j 1 <"$F/lists.rec" | cmp - "$F/scored.rec"
	score --by popularity -o p.rec "$F/lists.rec"
	e=$(metrics -B 0 "$F/scored.rec" | figure NDCG@10)
	c=$(score -S "$F/cosine.rec" -H "$F/train.rec" "$F/lists.rec" | metrics -B 0 | figure NDCG@10)
	p=$(metrics -B 0 p.rec | figure NDCG@10)
	[ "$(awk -v e="$e" -v c="$c" -v p="$p" 'BEGIN { print (e > p && c > 0.6 * p) }')" -eq 1 ]
}

@test "score --similarity: every score is the sum of what the history says" {
	rows "$F/train.rec" | awk '$1 == 7 { print $2 }' | sort -n >history
	rows "$F/cosine.rec" >weights
	score -S "$F/cosine.rec" -H "$F/train.rec" "$F/lists.rec" >s.rec
	rows s.rec | awk '$1 == 7' >list
	[ "$(wc -l <list)" -eq 51 ]
	awk 'FILENAME == "history" { has[$1] = 1 }
		FILENAME == "weights" && $1 in has { sum[$2] += $3 }
		FILENAME == "list" { d = $4 - sum[$3]; if (d * d > 1e-10) exit 1 }' history weights list
}

@test "score --similarity --all-items: seen items left out, the truth marked, agrees with lists" {
	score -q -a -n 9 -S "$F/ease.rec" -H "$F/train.rec" -k "$F/train.rec" -j 1 -o a.rec
	score -q -a -n 9 -S "$F/ease.rec" -H "$F/train.rec" -k "$F/train.rec" -j 3 --isa portable | cmp - a.rec
	rows a.rec >rows
	[ "$(wc -l <rows)" -eq $((9 * 120)) ]
	awk 'NR > 1 && $1 == user && $4 > score { exit 1 } { user = $1; score = $4 }' rows
	rows "$F/train.rec" | cut -f 1,2 | sort >known
	[ -z "$(cut -f 1,3 rows | sort | comm -12 - known)" ]
	score -q -a -n 290 -S "$F/ease.rec" -H "$F/train.rec" -k "$F/train.rec" -k "$F/valid.rec" -t "$F/test.rec" -o f.rec
	rows "$F/test.rec" | cut -f 1,2 | sort >truth
	rows f.rec | awk '$6 { print $1 "\t" $3 }' | sort | cmp - truth
	rows f.rec | cut -f 1,3,4 | sort >of_all
	rows "$F/scored.rec" | cut -f 1,3,4 | sort >of_lists
	[ -z "$(comm -13 of_all of_lists)" ]
}

@test "score --similarity: a user without history scores 0, a catalogue that grew goes on with the old weights" {
	printf 'user,item\nu,a\nu,b\nu,c\nv,a\nv,b\nw,d\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	item-sim -q -r 1 -o e.rec t.rec
	printf 'user,item\nnew,a\nnew,e\n' >n.csv
	printf 'user,item\nnew,c\nnobody,b\n' >x.csv
	encode-ids -q --update --unknown keep --users u.ids --items i.ids n.csv x.csv
	sample-neg -q --candidates 9 --known n.rec x.rec -o l.rec
	expect 0 score -S e.rec -H n.rec -o s.rec l.rec
	rows s.rec | awk '$1 == 4 && $4 != 0 { exit 1 } $1 == 3 && $3 == 1 && $4 <= 0 { exit 1 }'
	[ "$(rows s.rec | awk '$1 == 3 && $3 == 1' | wc -l)" -eq 1 ]
	expect 0 score -q -a -n 9 -S e.rec -H n.rec -k n.rec -o top.rec
	[ "$(rows top.rec | awk '$1 == 4 && $4 == 0' | wc -l)" -eq 5 ]
}

@test "score --similarity: usage, other maps, damaged weights" {
	fails 64 "need --similarity and --history" score -S "$F/ease.rec" "$F/lists.rec"
	fails 64 "need --similarity and --history" score --by similarity -H "$F/train.rec" "$F/lists.rec"
	fails 64 "do not go with --by popularity" score --by popularity -S "$F/ease.rec" -H "$F/train.rec" "$F/lists.rec"
	fails 64 "do not go with --by model" score -m x -S "$F/ease.rec" -H "$F/train.rec" "$F/lists.rec"
	fails 64 "exclude each other" score -m x --by similarity -S "$F/ease.rec" -H "$F/train.rec" "$F/lists.rec"
	fails 64 "--model is missing" score -H "$F/train.rec" "$F/lists.rec"
	fails 66 "cannot open" score -S nothing -H "$F/train.rec" "$F/lists.rec"
	fails 65 "expected similarity" score -S "$F/train.rec" -H "$F/train.rec" "$F/lists.rec"
	fails 65 "expected interactions" score -S "$F/ease.rec" -H "$F/lists.rec" "$F/lists.rec"
	fails 64 "unknown instruction set" score -S "$F/ease.rec" -H "$F/train.rec" --isa mmx "$F/lists.rec"
	head -c 5000 "$F/ease.rec" >cut
	fails 65 "end block" score -S cut -H "$F/train.rec" "$F/lists.rec"
	printf 'user,item\nu,a\nv,b\n' >t.csv
	encode-ids -q --users u.ids --items i.ids t.csv
	item-sim -q -o e.rec t.rec
	fails 65 "different items" score -S e.rec -H "$F/train.rec" "$F/lists.rec"
	fails 65 "different items" score -q -a -S e.rec -H "$F/train.rec"
	fails 65 "different users" score -S e.rec -H t.rec "$F/lists.rec"
	fails 65 "different users" score -q -a -S "$F/ease.rec" -H "$F/train.rec" -k t.rec
}

@test "item-sim and score: a reader that leaves ends them quietly, a producer that dies is told" {
	set +o pipefail
	item-sim -q "$F/train.rec" 2>err | head -c 10 >/dev/null
	[ ! -s err ]
	head -c 5000 "$F/train.rec" | item-sim -q - >out 2>err && return 1
	grep -q "producer died" err
}
