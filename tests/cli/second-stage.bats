#!/usr/bin/env bats
# rerank and recommend: every stage, its order in scores, its errors; titles for people.

load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	synth-ratings -q --users 80 --items 200 --ratings 4000 --seed 5 -o ratings.csv --movies movies.csv
	csvsplit -q --no-validation ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv test.csv
	train-mlp -q --layers 16-8-1 -e 2 -o model.safetensors train.rec
	sample-neg -q --candidates 40 --known train.rec -o lists.rec test.rec
	score -m model.safetensors -o scored.rec lists.rec
	score -q -m model.safetensors -a -n 30 -k train.rec -o top.rec
}

setup() {
	fresh
	F=$BATS_FILE_TMPDIR
}

rows() { recdump "$1" | grep -v '^#' | tail -n +2; }

@test "no stage changes nothing" {
	rerank "$F/scored.rec" -o a.rec
	cmp <(rows a.rec) <(rows "$F/scored.rec")
	rerank --by none <"$F/scored.rec" | metrics -B 0 | cmp - <(metrics -B 0 "$F/scored.rec")
}

@test "popularity re-sorts the first ten and leaves the others below" {
	rerank --by popularity "$F/scored.rec" -o p.rec
	# the same ten on top, by falling popularity; from the eleventh on the model's order
	for user in 0 7 33; do
		rows "$F/scored.rec" | awk -v u=$user '$1 == u && $2 <= 10 { print $3 }' | sort >before
		rows p.rec | awk -v u=$user '$1 == u && $2 <= 10 { print $3 }' | sort | cmp - before
		rows p.rec | awk -v u=$user '$1 == u && $2 <= 10 { if (n++ && $5 > last) exit 1; last = $5 }'
		cmp <(rows p.rec | awk -v u=$user '$1 == u && $2 > 10 { print $3 }') \
			<(rows "$F/scored.rec" | awk -v u=$user '$1 == u && $2 > 10 { print $3 }')
	done
	[ "$(metrics -B 0 -m HR p.rec | grep ^HR)" = "$(metrics -B 0 -m HR "$F/scored.rec" | grep ^HR)" ]
}

@test "mmr at lambda 1 is the model's order, at 0.3 it is more diverse" {
	rerank --by mmr --lambda 1 --movies "$F/movies.csv" --items "$F/items.ids" "$F/top.rec" -o one.rec
	cmp <(rows one.rec | cut -f1-3) <(rows "$F/top.rec" | cut -f1-3)
	rerank --by mmr --lambda 0.3 --depth 30 --movies "$F/movies.csv" --items "$F/items.ids" "$F/top.rec" --top 10 -o d.rec
	genres() { recommend --users "$F/users.ids" --items "$F/items.ids" --movies "$F/movies.csv" --format csv "$1" |
		tail -n +2 | awk -F, '{ print $1 "," $(NF - 1) }' | sort -u | wc -l; }
	[ "$(genres d.rec)" -gt "$(genres "$F/top.rec")" ]
	rerank --by mmr --lambda 0.3 --depth 30 --movies "$F/movies.csv" --items "$F/items.ids" "$F/top.rec" --top 10 | cmp - d.rec
}

# figure NAME LISTS: what the lists show to all users, with truth or without
figure() {
	metrics -q -B 0 -m "$1" --known "$F/train.rec" --movies "$F/movies.csv" --items "$F/items.ids" "$2" |
		awk -F '\t' -v m="$1@10" '$1 == m { print $2 }'
}

@test "calibration and tail: at 0 the model's order, at 0.95 more like what the user knows" {
	args=(--depth 30 --movies "$F/movies.csv" --items "$F/items.ids" --known "$F/train.rec")
	for stage in calibration tail; do
		rerank --by $stage --$stage 0 "${args[@]}" "$F/top.rec" -o zero.rec
		cmp <(rows zero.rec | cut -f1-3) <(rows "$F/top.rec" | cut -f1-3)
		rerank --by $stage --$stage 0.95 "${args[@]}" "$F/top.rec" -o $stage.rec
		# the same thirty, in another order, of scores that fall
		cmp <(rows $stage.rec | cut -f1,3 | sort) <(rows "$F/top.rec" | cut -f1,3 | sort)
		rows $stage.rec | awk 'NR > 1 && $1 == user && $4 >= score { exit 1 } { user = $1; score = $4 }'
		rerank --by $stage --$stage 0.95 "${args[@]}" <"$F/top.rec" | cmp - $stage.rec
	done
	awk -v a="$(figure miscalibration calibration.rec)" -v b="$(figure miscalibration "$F/top.rec")" 'BEGIN { exit !(a < 0.7 * b) }'
	awk -v a="$(figure longtail tail.rec)" -v b="$(figure longtail "$F/top.rec")" 'BEGIN { exit !(a > b) }'
	awk -v a="$(figure novelty tail.rec)" -v b="$(figure novelty "$F/top.rec")" 'BEGIN { exit !(a > b) }'
}

@test "affinity of weight 0 keeps the order, a large one follows the user's genres" {
	args=(--by affinity --movies "$F/movies.csv" --items "$F/items.ids" --known "$F/train.rec")
	rerank "${args[@]}" --weight 0 "$F/top.rec" -o zero.rec
	cmp <(rows zero.rec | cut -f1-3) <(rows "$F/top.rec" | cut -f1-3)
	rerank "${args[@]}" --weight 50 "$F/top.rec" -o much.rec
	! cmp -s <(rows much.rec | cut -f1-3) <(rows "$F/top.rec" | cut -f1-3)
}

@test "a blocklist takes items out, and stages chain" {
	gone=$(decode-ids --list --items "$F/items.ids" | head -40 | cut -f2)
	echo "$gone" >gone.txt
	echo no-such-item >>gone.txt
	expect 0 rerank --by blocklist --blocklist gone.txt --items "$F/items.ids" --by popularity --top 5 "$F/top.rec" -o b.rec
	[[ $stderr == *"1 items of the blocklist are not in the id map"* ]]
	[ "$(rows b.rec | awk '$3 < 40' | wc -l)" -eq 0 ]
	[ "$(rows b.rec | awk '{ n[$1]++ } END { for (u in n) if (n[u] > 5) print u }' | wc -l)" -eq 0 ]
}

@test "rerank: usage, unscored lists, other maps, broken input" {
	fails 64 "unknown, expected none" rerank --by fame "$F/scored.rec"
	fails 64 "needs --movies and --items" rerank --by mmr "$F/scored.rec"
	fails 64 "needs --known" rerank --by affinity --movies "$F/movies.csv" --items "$F/items.ids" "$F/scored.rec"
	fails 64 "needs --known" rerank --by calibration --movies "$F/movies.csv" --items "$F/items.ids" "$F/scored.rec"
	fails 64 "needs --movies and --items" rerank --by calibration --known "$F/train.rec" "$F/scored.rec"
	fails 64 "needs --known" rerank --by tail "$F/scored.rec"
	fails 64 "--calibration" rerank --calibration 1.5 "$F/scored.rec"
	fails 64 "--tail" rerank --tail -1 "$F/scored.rec"
	fails 64 "needs --blocklist" rerank --by blocklist "$F/scored.rec"
	fails 65 "no scores yet" rerank "$F/lists.rec"
	fails 65 "different items" rerank --by mmr --movies "$F/movies.csv" --items "$F/users.ids" "$F/scored.rec"
	fails 65 "expected lists" rerank "$F/train.rec"
	head -c 3000 "$F/scored.rec" >cut
	fails 65 "end block" rerank -o out.rec cut
	nothing_left out.rec
	fails 74 "No space left" rerank -o /dev/full "$F/scored.rec"
	fails 66 "cannot open" rerank --by mmr --movies nothing --items "$F/items.ids" "$F/scored.rec"
	printf 'a,b\n1,2\n' >odd.csv
	fails 65 "expected a header like movieId" rerank --by mmr --movies odd.csv --items "$F/items.ids" "$F/scored.rec"
}

@test "recommend: ten titles in a table, CSV and JSON lines" {
	args=(--users "$F/users.ids" --items "$F/items.ids" --movies "$F/movies.csv")
	user=$(decode-ids --list --users "$F/users.ids" | sed -n 4p | cut -f2)
	expect 0 recommend "${args[@]}" --user "$user" "$F/top.rec"
	[ "${lines[0]}" = "user $user" ]
	[ "${#lines[@]}" -eq 11 ]
	recommend "${args[@]}" --format csv --top 3 "$F/top.rec" >r.csv
	[ "$(head -1 r.csv)" = userId,rank,movieId,title,genres,score ]
	[ "$(wc -l <r.csv)" -eq $((1 + $(rows "$F/top.rec" | awk '$2 <= 3' | wc -l))) ]
	recommend "${args[@]}" --format jsonl --top 3 "$F/top.rec" >r.jsonl
	[ "$(wc -l <r.jsonl)" -eq 80 ]
	grep -q '^{"userId":"[^"]*","items":\[{"rank":1,"movieId":' r.jsonl
	# a title of the catalogue stands beside its id
	id=$(sed -n 2p r.csv | cut -d, -f3)
	grep "^$id," "$F/movies.csv" | grep -qF "$(awk -F, 'NR == 2 { print $4 }' r.csv | tr -d '"' | cut -c1-8)"
}

@test "recommend: unknown users, no titles, missing options" {
	fails 65 "user 'nobody' is not in the id map" recommend --users "$F/users.ids" --items "$F/items.ids" --user nobody "$F/top.rec"
	fails 64 "--users and --items are required" recommend "$F/top.rec"
	fails 65 "different users" recommend --users "$F/items.ids" --items "$F/items.ids" "$F/top.rec"
	head -20 "$F/movies.csv" >few.csv
	expect 0 recommend --users "$F/users.ids" --items "$F/items.ids" --movies few.csv "$F/top.rec"
	[[ $stderr == *"items have no title"* ]]
	expect 0 recommend --users "$F/users.ids" --items "$F/items.ids" "$F/top.rec"
}

@test "titles of MovieLens: commas, quotes and accents in movies.csv and in ISO-8859-1" {
	need_data ml-100k
	encode-ids -q --users u --items i "$DATA/ml-100k/u.data"
	train-mlp -q --layers 8-4-1 -e 1 -o m "u.rec" 2>/dev/null || train-mlp -q --layers 8-4-1 -e 1 -o m ./u.data.rec
	rec=$(ls ./*.rec)
	score -q -m m -a -n 1682 --user 0 -o all.rec
	recommend --users u --items i --movies "$DATA/ml-100k/u.item" --genres "$DATA/ml-100k/u.genre" --format csv --top 1682 all.rec >t.csv
	grep -q 'Misérables, Les (1995)' t.csv
	grep -q 'Toy Story (1995),Animation|Children' t.csv
}
