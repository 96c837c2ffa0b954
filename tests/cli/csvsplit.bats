#!/usr/bin/env bats
# csvsplit: every way to cut, no leaks, filters, rejects, errors that leave nothing behind.

load helpers

# A small file with equal times: user,item,rating,time.
ratings() {
	cat >ratings.csv <<-'CSV'
		userId,movieId,rating,timestamp
		a,m1,4.0,10
		a,m2,3.5,20
		a,m3,5,20
		a,m4,1,30
		b,m1,2,5
		b,m2,4,6
		b,m3,4.5,7
		c,m1,3,100
		c,m4,3,101
		d,m2,5,50
	CSV
}

# A larger file: 60 users, many ties in time, some doubled pairs.
many() {
	awk 'BEGIN { print "userId,movieId,rating,timestamp"
		for (u = 1; u <= 60; u++) for (k = 0; k < 5 + u % 23; k++)
			printf "u%d,i%d,%d,%d\n", u, (u * 7 + k * k * 3) % 90, 1 + (u + k) % 5, 1000 + int((u * 13 + k * 5) / 4) }' \
		>many.csv
}

# Neither an output nor a temporary of one is there.
only_ratings() { [ "$(find . -name '*csv*' -o -name '*tsv*' -o -name '*json*')" = ./ratings.csv ]; }

body() { tail -n +2 "$1"; }

# Every row of the parts is one of the source, in no two parts, and no pair is in two parts.
no_pair_twice() {
	local twice
	twice=$(cat "$@" | grep -v '^userId' | cut -d, -f1,2 | sort | uniq -d)
	[ -z "$twice" ] || { echo "in two parts: $twice" >&2; return 1; }
}

# Per user: the latest training event is no later than the earliest validation event, and so on.
in_time_order() {
	awk -F, 'FNR == 1 { part++; next } {
		if (part == 1 && (!($1 in late) || $4 > late[$1])) late[$1] = $4
		if (part > 1) { if (($1 in late) && $4 < late[$1]) { print "leak:", $0; bad = 1 }
			if (part == 2 && (!($1 in late2) || $4 > late2[$1])) late2[$1] = $4
			if (part == 3 && ($1 in late2) && $4 < late2[$1]) { print "leak:", $0; bad = 1 } } }
		END { exit bad }' "$@"
}

@test "leave one out by time: the last tests, the one before it validates" {
	ratings
	expect 0 csvsplit -q ratings.csv
	[ "$(body test.csv)" = "$(printf '%s\n' a,m4,1,30 b,m3,4.5,7 c,m4,3,101)" ]
	[ "$(body valid.csv | grep -c .)" -eq 2 ]
	grep -qx 'b,m2,4,6' valid.csv
	grep -qx 'd,m2,5,50' train.csv
	in_time_order train.csv valid.csv test.csv
	no_pair_twice train.csv valid.csv test.csv
}

@test "equal times are broken by seed or by file order, not by item" {
	ratings
	csvsplit -q --ties order ratings.csv
	grep -qx 'a,m3,5,20' valid.csv
	local seen=''
	for seed in 1 2 3 4 5 6 7 8; do
		csvsplit -q --seed $seed ratings.csv
		seen+=$(grep '^a' valid.csv)' '
	done
	[[ $seen == *a,m2* ]] && [[ $seen == *a,m3* ]]
}

@test "every split leaks nothing and loses nothing" {
	many
	for split in last random ratio time users; do
		csvsplit -q --split $split many.csv
		no_pair_twice train.csv valid.csv test.csv
		body many.csv | cut -d, -f1,2 | sort -u >pairs
		cat train.csv valid.csv test.csv | grep -v ^userId | cut -d, -f1,2 | sort | cmp - pairs
		case $split in last | ratio | time) in_time_order train.csv valid.csv test.csv ;; esac
	done
}

@test "a global cut: nothing in training is later than it" {
	many
	csvsplit -q --split time --cut 1100 many.csv
	[ "$(body train.csv | awk -F, '$4 > 1100' | wc -l)" -eq 0 ]
	[ "$(body valid.csv | awk -F, '$4 > 1100' | wc -l)" -eq 0 ]
	[ "$(body test.csv | awk -F, '$4 <= 1100' | wc -l)" -eq 0 ]
	last_train=$(body train.csv | cut -d, -f4 | sort -n | tail -1)
	[ "$(body valid.csv | awk -F, -v t="$last_train" '$4 <= t' | wc -l)" -eq 0 ]
}

@test "users held out are held out whole" {
	many
	csvsplit -q --split users --test-share 0.3 many.csv
	for part in train valid test; do body $part.csv | cut -d, -f1 | sort -u >$part.users; done
	[ -z "$(sort train.users valid.users test.users | uniq -d)" ]
	[ "$(wc -l <test.users)" -gt 5 ] && [ "$(wc -l <test.users)" -lt 40 ]
}

@test "a ratio a user: 80 of 100 train" {
	{ echo user,item,time; for i in $(seq 100); do echo "u,i$i,$i"; done; } >one.csv
	csvsplit -q --split ratio --no-validation one.csv
	[ "$(body train.csv | wc -l)" -eq 80 ]
	[ "$(body test.csv | head -1)" = u,i81,81 ]
	[ ! -e valid.csv ]
}

@test "doubled pairs: the last, the first, an error" {
	printf 'user,item,rating,time\nu,i,1,5\nu,j,2,6\nu,i,3,4\nu,i,4,5\n' >d.csv
	csvsplit -q --split random --no-validation d.csv
	cat train.csv test.csv | grep -q 'u,i,4,5'
	csvsplit -q --duplicates first --split random --no-validation d.csv
	cat train.csv test.csv | grep -q 'u,i,3,4'
	rm -f ./t*.csv
	fails 65 "more than once" csvsplit --duplicates error d.csv
	nothing_left train.csv
}

@test "least rating, minimum counts and k-core" {
	many
	csvsplit -q --min-rating 4 many.csv
	[ "$(cat train.csv valid.csv test.csv | grep -v ^userId | awk -F, '$3 < 4' | wc -l)" -eq 0 ]
	csvsplit -q --k-core 4 many.csv
	cat train.csv valid.csv test.csv | grep -v ^userId >all
	[ "$(cut -d, -f1 all | sort | uniq -c | awk '$1 < 4' | wc -l)" -eq 0 ]
	[ "$(cut -d, -f2 all | sort | uniq -c | awk '$1 < 4' | wc -l)" -eq 0 ]
	[ -s all ]
	csvsplit -q --min-user 9 many.csv
	[ "$(cat train.csv valid.csv test.csv | grep -v ^userId | cut -d, -f1 | sort | uniq -c | awk '$1 < 9' | wc -l)" -eq 0 ]
	fails 65 "no rating is left" csvsplit --k-core 1000 many.csv
}

@test "rows that cannot be read are counted, told, kept, and limited" {
	printf 'userId,movieId,rating\na,1,3\na,2,x\nb,1\n,3,4\nb,2,5\na,3,1\nb,"q\n' >bad.csv
	expect 0 csvsplit --rejects rejects.tsv --summary summary.json bad.csv
	[[ $stderr == *"bad.csv:3: a rating that is no finite number"* ]]
	[ "$(wc -l <rejects.tsv)" -eq 5 ]
	grep -qP '^3\t28\ta rating that is no finite number\ta,2,x$' rejects.tsv
	grep -q '"unreadable": 4' summary.json
	rm -f ./*.csv.bak train.csv valid.csv test.csv rejects.tsv summary.json
	fails 65 "bad.csv:3" csvsplit --strict --rejects rejects.tsv bad.csv
	nothing_left train.csv
	nothing_left rejects.tsv
	fails 65 "--max-errors 2" csvsplit --max-errors 2 bad.csv
	expect 0 csvsplit --max-errors -1 --show-errors 0 bad.csv
	[[ $stderr != *"bad.csv:3"* ]]
}

@test "ids and ratings keep their text; quotes come back where they must" {
	printf 'user,item,rating,time\n"o""hara, x",007,3.50,1\n"o""hara, x",+7,4,2\n' >q.csv
	csvsplit -q q.csv
	grep -qxF '"o""hara, x",007,3.50,1' train.csv
	grep -qxF '"o""hara, x",+7,4,2' test.csv
}

@test "stdin, .gz, tabs, ::, no header: the same parts" {
	ratings
	csvsplit -q --train a.csv --valid b.csv --test c.csv ratings.csv
	gzip -k ratings.csv
	csvsplit -q --train a2.csv --valid b2.csv --test c2.csv ratings.csv.gz
	body ratings.csv | sed 's/,/::/g' | csvsplit -q --train a3.csv --valid b3.csv --test c3.csv
	body ratings.csv | tr , '\t' | csvsplit -q --train a4.csv --valid b4.csv --test c4.csv -
	for n in 2 3 4; do same a.csv a$n.csv; same b.csv b$n.csv; same c.csv c$n.csv; done
}

@test "the same bytes twice, other bytes with another seed" {
	many
	csvsplit -q --split random many.csv && cat train.csv valid.csv test.csv | md5sum >first
	csvsplit -q --split random many.csv && cat train.csv valid.csv test.csv | md5sum | cmp - first
	csvsplit -q --split random --seed 2 many.csv
	! cat train.csv valid.csv test.csv | md5sum | cmp -s - first
}

@test "errors: no input, an unwritable folder, a full disk; nothing half-written" {
	ratings
	fails 66 "cannot open" csvsplit missing.csv
	fails 66 "is a folder" csvsplit .
	fails 73 "cannot create" csvsplit -O nowhere ratings.csv
	fails 74 "No space left" csvsplit --test /dev/full ratings.csv
	nothing_left train.csv
	nothing_left valid.csv
	fails 65 "needs a column of times" csvsplit --split time - <<<$'user,item\na,b'
	fails 64 "--cut" csvsplit --split time --cut soon ratings.csv
	fails 64 "--split" csvsplit --split half ratings.csv
}

@test "options that would do nothing, and one file for two parts, are refused" {
	ratings
	fails 64 "--cut does nothing" csvsplit --cut 20 ratings.csv
	fails 64 "--ratio does nothing" csvsplit --split random --ratio 0.5 ratings.csv
	fails 64 "--test-share does nothing" csvsplit --test-share 0.5 ratings.csv
	fails 64 "contradict" csvsplit --no-validation --valid v.csv ratings.csv
	fails 64 "two outputs at once" csvsplit --train x.csv --test x.csv ratings.csv
	fails 64 "two outputs at once" csvsplit --valid train.csv ratings.csv
	fails 64 "two outputs at once" csvsplit --train - --rejects - ratings.csv
	fails 73 "too long" csvsplit --out "$(printf '%05000d' 0)" ratings.csv
	only_ratings
	expect 0 csvsplit -q --train - --valid /dev/null --test /dev/null ratings.csv
	[ "${lines[0]}" = "userId,movieId,rating,timestamp" ] && [ "${#lines[@]}" -eq 6 ]
}

@test "a failure at the last moment takes back everything: --summary on a full disk" {
	ratings
	fails 74 "No space left" csvsplit --rejects rejects.tsv --summary /dev/full ratings.csv
	only_ratings
}

@test "the summary: counts, cuts and the span of time, on stderr and as JSON" {
	ratings
	expect 0 csvsplit --split time --test-share 0.2 --summary summary.json ratings.csv
	[[ $stderr == *"10 rows, 0 unreadable"*"4 users, 4 items, density 62.5000%"* ]]
	[[ $stderr == *"from 1970-01-01 to 1970-01-01 (5 to 101)"* ]]
	[[ $stderr == *"the test is later than 50"*"train 7, valid 1, test 2"* ]]
	grep -q '"cut": 50,' summary.json
	grep -q '"valid_cut": 30,' summary.json
	expect 0 csvsplit ratings.csv
	[[ $stderr == *"1 users have too few ratings to be tested"* ]]
	[[ $stderr == *"2 users have too few ratings to be validated"* ]]
}

@test "MovieLens latest-small and 100k" {
	need_data ml-latest-small
	expect 0 csvsplit "$DATA/ml-latest-small/ratings.csv"
	[[ $stderr == *"610 users, 9724 items"* ]]
	[ "$(cat train.csv valid.csv test.csv | grep -vc ^userId)" -eq 100836 ]
	in_time_order train.csv valid.csv test.csv
	expect 0 csvsplit --split time "$DATA/ml-100k/u.data"
	[[ $stderr == *"943 users, 1682 items"* ]]
	in_time_order train.csv valid.csv test.csv
}
