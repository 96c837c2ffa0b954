#!/usr/bin/env bats
# Every file of tests/gen/broken-csv through the tools that read ratings: what can be read is kept, what cannot is
# told and counted, what is refused leaves nothing behind.

# shellcheck disable=SC2154  # $stderr is of bats' run
load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return 1
	"$GEN/broken-csv" made >table
	awk -F '\t' '{ print >($2 == "-" ? "refused.tsv" : "readable.tsv") }' table
	[ "$(wc -l <readable.tsv)" -gt 25 ] && [ "$(wc -l <refused.tsv)" -gt 10 ]
}

setup() {
	fresh
	MADE=$BATS_FILE_TMPDIR/made
	mkdir parts
}

# Runs COMMAND… with $file, $good, $bad and $text of every line of TABLE.
each() {
	local file good bad text table=$BATS_FILE_TMPDIR/$1.tsv
	shift
	while IFS=$'\t' read -r file good bad text; do
		echo "the file is $file" >&2
		"$@" || return 1
	done <"$table"
}

# together FOLDER: the parts as one file on stdout.
together() {
	cat "$1/train.csv" && tail -n +2 "$1/valid.csv" && tail -n +2 "$1/test.csv"
}

splits() {
	expect 0 csvsplit --out parts --summary s.json --rejects r.tsv --show-errors 1 "$MADE/$file" || return 1
	grep -q "\"rows\": $((good + bad))," s.json && grep -q "\"unreadable\": $bad," s.json || return 1
	[ "$(awk '/"(train|valid|test)"/ { all += $2 } END { print all }' s.json)" -eq "$good" ] || return 1
	[ "$(wc -l <r.tsv)" -eq $((bad + 1)) ] && [ "$(grep -cF "	$text	" r.tsv)" -eq "$bad" ] || return 1
	[ "$bad" -eq 0 ] || [[ $stderr == *"$file:"*": $text; row skipped"* ]]
}

@test "csvsplit reads what can be read, and counts and keeps the rest" {
	each readable splits
}

strictly() {
	[ "$bad" -gt 0 ] || return 0
	fails 65 "$file:" csvsplit --strict --out parts --rejects r.tsv --summary s.json "$MADE/$file" || return 1
	[[ $stderr == *": $text"* ]] && [ -z "$(ls parts)" ] && nothing_left r.tsv && nothing_left s.json
}

@test "csvsplit --strict refuses the first such row and leaves nothing" {
	each readable strictly
}

# A row that begins at a line and an offset of the file begins so there: byte for byte, up to what is escaped.
located() {
	[ "$bad" -gt 0 ] || return 0
	csvsplit -q --out parts --show-errors 0 --rejects r.tsv "$MADE/$file" || return 1
	local line offset row first
	while IFS=$'\t' read -r line offset _ row; do
		first=$(head -n "$((line - 1))" "$MADE/$file" | wc -c)
		[ "$first" -eq "$offset" ] || return 1
		[[ $row == *\\x* || -z $row ]] || tail -c +"$((offset + 1))" "$MADE/$file" | head -n 1 | tr -d '\n' |
			cmp - <(printf '%s' "$row") || return 1
	done < <(tail -n +2 r.tsv)
}

@test "rejects tell the line, the byte offset and the row as it came" {
	each readable located
}

pipes() {
	csvsplit -q --show-errors 0 --out parts "$MADE/$file" || return 1
	mkdir -p piped zipped
	# shellcheck disable=SC2002  # a pipe is what is tested
	cat "$MADE/$file" | csvsplit -q --show-errors 0 --out piped || return 1
	gzip -nc "$MADE/$file" >"zipped/$file.gz"
	csvsplit -q --show-errors 0 --out zipped "zipped/$file.gz" || return 1
	local part
	for part in train valid test; do
		same parts/$part.csv piped/$part.csv && same parts/$part.csv zipped/$part.csv || return 1
	done
}

@test "a pipe and a .gz give the same parts" {
	each readable pipes
}

# What csvsplit writes reads back as the same ids, and encode-ids reads the source as csvsplit does.
reads_back() {
	csvsplit -q --show-errors 0 --out parts "$MADE/$file" || return 1
	together parts >again.csv
	encode-ids -q --order sorted -u u1 -i i1 "$MADE/$file" 2>/dev/null || return 1
	expect 0 encode-ids -q --strict --order sorted -u u2 -i i2 again.csv || return 1
	same u1 u2 && same i1 i2
}

@test "the parts read back as the ids of the source, and encode-ids agrees" {
	each readable reads_back
}

refused_by_csvsplit() {
	fails 65 "$text" csvsplit --out parts --rejects r.tsv --summary s.json "$MADE/$file" || return 1
	[[ $stderr == *"$file"* ]] && [ -z "$(ls parts)" ] && nothing_left r.tsv && nothing_left s.json
}

@test "csvsplit refuses what is no file of ratings, and leaves nothing" {
	each refused refused_by_csvsplit
}

refused_by_encode_ids() {
	case $file in header-alone.csv | nothing-to-read.csv) return 0 ;; esac # an empty map is one
	fails 65 "$text" encode-ids --strict -u parts/u -i parts/i -o parts "$MADE/$file" || return 1
	[ -z "$(ls parts)" ]
}

@test "encode-ids refuses it too" {
	each refused refused_by_encode_ids
}

# limited COMMAND…: in 250 MB of address space.
limited() {
	(ulimit -v 250000 && "$@")
}

@test "a quote left open before 300 MB, in one line or in many, costs no memory and one row" {
	not_sanitized
	one_line() {
		printf 'user,item\na,"'
		head -c 300M /dev/zero | tr '\0' x
		printf '\nb,1\nb,2\n'
	}
	one_line | limited csvsplit --out parts --max-errors 1 2>told
	grep -q '3 rows, 1 unreadable' told
	[ "$(together parts | wc -l)" -eq 3 ]
	many_lines() {
		printf 'user,item\na,"1\n'
		seq -f 'b,%.0f' 2000000
	}
	many_lines | limited csvsplit --out parts --max-errors 1 2>told
	grep -q '2000001 rows, 1 unreadable' told
}

@test "stray quotes in every line stay cheap" {
	{ echo user,item && echo a,1 && seq -f '"u%.0f,i' 100000; } >stray.csv
	expect 0 timeout 20 csvsplit --out parts --max-errors -1 --show-errors 0 stray.csv
	[[ $stderr == *"100001 rows, 100000 unreadable"* ]]
}
