# From text to records: the same bytes by any threads and instruction sets, from files, pipes and .gz, whether a stream's
# header was guessed or not.
load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return 1
	synth-ratings -q --users 3000 --items 800 --ratings 120000 --seed 3 -o grouped.csv
	# The same in another order; every 500th line is not ordinary, a few have doubles, texts as ids, a CR.
	{ head -n 1 grouped.csv
	  tail -n +2 grouped.csv | awk -F, '{ print ($1 * 7919 + $2 * 104729) % 1000003 "\t" $0 }' | sort -n | cut -f 2 |
		awk -F, 'NR % 500 == 7 { $1 = "\"" $1 "\""; print $1 "," $2 "," $3 "," $4; next }
			NR % 500 == 9 { print "user " $1 "," $2 ",4.25," $4; next }
			NR % 500 == 11 { print $0 "\r"; print $0; next }
			NR % 500 == 13 { print $1 "," $2 ",none," $4; next }
			{ print }'
	} >mixed.csv
	gzip -k mixed.csv
	mkdir expected
	csvsplit -q -j 1 --max-errors -1 --show-errors 0 --out expected mixed.csv
	encode-ids -q -j 1 -u expected/users.ids -i expected/items.ids --out expected expected/{train,valid,test}.csv
}

setup() {
	fresh
	HERE=$BATS_FILE_TMPDIR
}

parts_are() { # FOLDER: those expected
	same train.csv "$1/train.csv" && same valid.csv "$1/valid.csv" && same test.csv "$1/test.csv"
}

@test "csvsplit: any threads and instruction sets, a file, a pipe or a .gz: the same parts" {
	split=(csvsplit -q --max-errors -1 --show-errors 0)
	for threads in 2 3 8 0; do
		"${split[@]}" -j $threads "$HERE/mixed.csv"
		parts_are "$HERE/expected"
	done
	for isa in avx512 avx2 portable; do
		RECPIPE_ISA=$isa "${split[@]}" "$HERE/mixed.csv" || [ $? -eq 69 ]
		parts_are "$HERE/expected"
	done
	cat "$HERE/mixed.csv" | "${split[@]}"
	parts_are "$HERE/expected"
	"${split[@]}" "$HERE/mixed.csv.gz"
	parts_are "$HERE/expected"
	# Other ways to cut, other options.
	for how in "--split ratio" "--split random --seed 5" "--split time --min-rating 3" "--split users --k-core 20" \
		"--duplicates first --no-validation --ties order"; do
		rm -rf one ./*.csv
		mkdir one
		# shellcheck disable=SC2086  # options
		"${split[@]}" $how -j 1 --out one "$HERE/mixed.csv"
		# shellcheck disable=SC2086
		"${split[@]}" $how -j 3 "$HERE/mixed.csv"
		for part in one/*.csv; do same "$part" "$(basename "$part")"; done
	done
}

@test "encode-ids: any threads and instruction sets, a pipe or a .gz: the same streams and maps" {
	encode=(encode-ids -q -u users.ids -i items.ids)
	are_expected() {
		local file
		for file in users.ids items.ids train.rec valid.rec test.rec; do same "$file" "$HERE/expected/$file"; done
	}
	for threads in 2 3 8 0; do
		"${encode[@]}" -j $threads "$HERE"/expected/{train,valid,test}.csv
		are_expected
	done
	for isa in avx512 avx2 portable; do
		RECPIPE_ISA=$isa "${encode[@]}" "$HERE"/expected/{train,valid,test}.csv || [ $? -eq 69 ]
		are_expected
	done
	"${encode[@]}" - <"$HERE/expected/train.csv" >stdout.rec
	same stdout.rec "$HERE/expected/train.rec"
	cat "$HERE/expected/train.csv" | "${encode[@]}" - >stdout.rec
	same stdout.rec "$HERE/expected/train.rec"
	gzip -c "$HERE/expected/train.csv" >train.csv.gz
	"${encode[@]}" train.csv.gz "$HERE"/expected/{valid,test}.csv
	are_expected
	# Sorted ids, maps that grow on the way and afterwards, maps that stay.
	for how in "--order sorted" "--unknown keep" "--build all" "--order sorted --unknown keep"; do
		for threads in 1 3; do
			mkdir -p $threads
			# shellcheck disable=SC2086
			encode-ids -q $how -j $threads -u $threads/users -i $threads/items -o $threads "$HERE"/expected/{valid,test,train}.csv
		done
		diff -r 1 3
	done
	cp 1/users 1/items .
	for threads in 1 3; do
		encode-ids -q -j $threads --frozen -u users -i items -o $threads "$HERE/expected/test.csv" "$HERE/grouped.csv"
		cp users items $threads
		encode-ids -q -j $threads --update -u $threads/users -i $threads/items -o $threads "$HERE/grouped.csv"
	done
	diff -r 1 3
}

# by_text FOLDER OPTION… FILE: the streams and maps by way of text.
by_text() {
	local folder=$1 part parts=()
	shift
	rm -rf "$folder"
	mkdir "$folder"
	csvsplit -q --max-errors -1 --show-errors 0 --out "$folder" "$@"
	for part in train valid test; do [ ! -e "$folder/$part.csv" ] || parts+=("$folder/$part.csv"); done
	encode-ids -q -u "$folder/users.ids" -i "$folder/items.ids" --out "$folder" "${parts[@]}"
	rm "${parts[@]}"
}

@test "csvsplit --records: what encode-ids makes of its text, to the byte" {
	split=(csvsplit -q --max-errors -1 --show-errors 0 --records)
	mkdir text records
	cp "$HERE"/expected/*.{rec,ids} text
	for threads in 1 2 3 8 0; do
		"${split[@]}" -j $threads --out records "$HERE/mixed.csv"
		diff -r text records
	done
	for isa in avx512 avx2 portable; do
		RECPIPE_ISA=$isa "${split[@]}" --out records "$HERE/mixed.csv" || [ $? -eq 69 ]
		diff -r text records
	done
	"${split[@]}" --out records - <"$HERE/mixed.csv"
	diff -r text records
	"${split[@]}" --train - --valid v --test t -u u -i i "$HERE/mixed.csv" | cmp - text/train.rec
	same v text/valid.rec && same t text/test.rec && same u text/users.ids && same i text/items.ids
	[ ! -e train.rec ] && [ ! -e users.ids ]
	# Users together; other cuts, some of whose parts have users and items that do not train, or no row at all; no
	# validation; no time, or neither rating nor time.
	cut -d, -f 1-3 "$HERE/mixed.csv" >rated.csv
	cut -d, -f 1-2 "$HERE/grouped.csv" >pairs.csv
	while read -r file how; do
		# shellcheck disable=SC2086  # options
		by_text text $how "$file"
		for threads in 1 3; do
			rm -rf records && mkdir records
			# shellcheck disable=SC2086
			"${split[@]}" $how -j $threads --out records "$file" 2>told
			diff -r text records
		done
	done <<-END
		$HERE/grouped.csv --seed 3
		$HERE/grouped.csv --split ratio --ratio 0.4
		$HERE/mixed.csv --split ratio --min-rating 3
		$HERE/mixed.csv --split time --test-share 0.97
		$HERE/mixed.csv --split users --k-core 20
		$HERE/mixed.csv --no-validation --duplicates first
		$HERE/mixed.csv --split time --cut 4000000000
		rated.csv --split random
		pairs.csv --split last
	END
}

@test "csvsplit --records: rows dropped are told as encode-ids tells them" {
	printf '%s\n' user,item,time a,x,1 a,y,2 b,x,9 a,z,8 c,y,9 >ratings.csv
	csvsplit -q --split time --no-validation --cut 5 ratings.csv
	expect 0 encode-ids -q -u u -i i train.csv test.csv
	# shellcheck disable=SC2154  # expect leaves it
	told=${stderr#*: }
	[[ $told == "test.csv: 3 of 3 rows dropped: 2 with a user, 1 with an item that is not in the maps" ]]
	expect 0 csvsplit -q --records --split time --no-validation --cut 5 ratings.csv
	[ "${stderr#*: }" = "${told/test.csv/test.rec}" ]
	same train.rec <(encode-ids -q -u u -i i - <train.csv)
	recdump --verify train.rec test.rec users.ids items.ids
}

@test "csvsplit --records: errors leave nothing behind" {
	printf '%s\n' user,item,time a,x,1 a,y,2 b,x,9 a,z,8 c,y,9 >ratings.csv
	fails 64 "--users does nothing without --records" csvsplit --users u ratings.csv
	fails 64 "--items does nothing without --records" csvsplit --items i ratings.csv
	fails 64 "two outputs at once" csvsplit --records --users x --items x ratings.csv
	fails 64 "two outputs at once" csvsplit --records --users train.rec ratings.csv
	fails 64 "two outputs at once" csvsplit --records --summary items.ids ratings.csv
	fails 73 "cannot create" csvsplit --records --out nowhere ratings.csv
	fails 73 "too long" csvsplit --records --users "$(printf '%05000d' 0)" ratings.csv
	fails 74 "No space left" csvsplit --records --users /dev/full ratings.csv
	fails 74 "No space left" csvsplit --records --test /dev/full ratings.csv
	fails 74 "No space left" csvsplit --records -j 1 --train /dev/full "$HERE/grouped.csv"
	fails 74 "No space left" csvsplit --records -j 3 --train /dev/full "$HERE/grouped.csv"
	[ -z "$(find . -name '*.rec*' -o -name '*.ids*' -o -name '*.csv.*')" ]
}

# A stream of more rows than are held back begins before the maps are known. Ids that come all at once make the
# guess too large, those that only begin later too small, and the records move; both ways and the right guess must give
# the bytes that a stream on stdout has, which waits for the maps.
@test "encode-ids: streams begun before the maps are known have the same bytes" {
	awk 'BEGIN { n = 700000
		for (i = 0; i < n; i++) print "1," i % 1000 ",3," i >"right.csv"
		for (i = 0; i < n; i++) print (i < 200000 ? i % 50 : i % 9000) "," i % 10 ",3," i >"small.csv"
		for (i = 0; i < n; i++) print (i < n / 2 ? i % 99 : i) "," i % 10 ",3," i >"large.csv" }'
	for kind in right small large; do
		for threads in 1 2; do
			encode-ids -q -j $threads -c user,item,rating,time -u u -i i $kind.csv
			encode-ids -q -c user,item,rating,time -u pu -i pi - <$kind.csv >piped.rec
			same u pu && same i pi && same $kind.rec piped.rec
			recdump --verify $kind.rec
		done
	done
	# With others before and behind.
	head -n 1000 right.csv >few.csv
	encode-ids -q --build all -c user,item,rating,time -u u -i i small.csv few.csv large.csv right.csv
	for kind in small few large right; do cp $kind.rec $kind.expected; done
	for kind in small few large right; do
		encode-ids -q --frozen -c user,item,rating,time -u u -i i $kind.csv
		cmp <(recdump $kind.rec | grep -v '^#') <(recdump $kind.expected | grep -v '^#')
	done
}
