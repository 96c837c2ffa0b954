# Broken streams, and streams in pipes: every tool tells whole from broken, and leaves nothing behind.
load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return 1
	"$GEN/broken-streams" streams >table
	synth-ratings --users 60 --items 50 --ratings 1500 -o r.csv
	encode-ids -q -u users.ids -i items.ids r.csv
	sample-neg -q --ratio 4 --epochs 2 r.rec >r.smp
	sample-neg -q --candidates 10 --known r.rec r.rec >r.lst
	train-mlp -q -e 1 -o m.safetensors r.rec
	score -q -m m.safetensors r.lst >scored.lst
}

setup() {
	fresh
	HERE=$BATS_FILE_TMPDIR
	MADE=$HERE/streams
}

# judge FILE TEXT COMMAND...: TEXT "-" means accepted, else exit 65 with TEXT.
judge() {
	local file=$1 text=$2
	shift 2
	echo "the file is $file" >&2
	if [ "$text" = - ]; then
		expect 0 "$@"
	else
		fails 65 "$text" "$@"
	fi
}

@test "the table of broken streams is that of the files made" {
	[ "$(wc -l <"$HERE/table")" -ge 40 ]
	diff <(cut -f 1 "$HERE/table" | sort) <(cd "$MADE" && find . -type f -printf '%P\n' | sort)
	[ "$(cut -f 2 "$HERE/table" | grep -cx -e -)" -eq 7 ]
}

@test "every broken stream is refused with what is wrong; whole ones are read" {
	while IFS=$'\t' read -r file text; do
		judge "$file" "$text" recdump "$MADE/$file"
		[ "$text" = - ] || [[ $stderr == "recdump: $MADE/$file: "* ]]
	done <"$HERE/table"
}

@test "the same through a pipe, and from a .gz" {
	while IFS=$'\t' read -r file text; do
		judge "$file" "$text" sh -c 'cat "$1" | recdump' sh "$MADE/$file"
		gzip -c "$MADE/$file" >file.gz
		judge "$file" "$text" recdump file.gz
	done <"$HERE/table"
}

@test "--verify exits 1 for each broken one" {
	while IFS=$'\t' read -r file text; do
		[ "$text" = - ] || expect 1 recdump --verify "$MADE/$file"
	done <"$HERE/table"
}

# Each tool that reads a stream: its name, the kind it reads, and a command that reads stdin.
readers() {
	cat <<-'LINES'
		interactions	sample-neg -q --ratio 1 -
		interactions	sample-neg -q --candidates 5 --known known.rec -
		interactions	decode-ids -u users.ids -i items.ids -
		interactions	train-mlp -q -e 1 -o out.safetensors -
		lists	score -q -m m.safetensors -
		scored	metrics -
		samples	train-mlp -q -o out.safetensors -
	LINES
}

@test "tools: an empty, a cut, a foreign or a damaged input exits 65 and leaves no file" {
	local kind command whole size
	cp "$HERE"/*.ids "$HERE/m.safetensors" .
	cp "$HERE/r.rec" known.rec
	declare -A files=([interactions]=r.rec [samples]=r.smp [lists]=r.lst [scored]=scored.lst)
	while IFS=$'\t' read -r kind command; do
		command+=" >/dev/null"
		whole=$HERE/${files[$kind]}
		size=$(stat -c %s "$whole")
		fails 65 "(stdin): empty, expected a stream" sh -c "$command" </dev/null
		fails 65 "the producer died or the file was cut" sh -c "head -c $((size / 2)) '$whole' | $command"
		fails 65 "the producer died or the file was cut" sh -c "head -c $((size - 1)) '$whole' | $command"
		fails 65 "not a recpipe stream" sh -c "$command" <"$HERE/r.csv"
		fails 65 "something follows the end block" sh -c "{ cat '$whole'; echo; } | $command"
		{ head -c $((size / 2)) "$whole"; printf '\xa5\x5a'; tail -c +$((size / 2 + 3)) "$whole"; } >flipped
		fails 65 "a block is damaged (CRC)" sh -c "$command" <flipped
		[ ! -e out.safetensors ]
		fails 65 "a stream of ids, expected" sh -c "$command" <"$HERE/users.ids"
		expect 0 sh -c "$command" <"$whole"
		rm -f out.safetensors
	done < <(readers)
	[ -z "$(find . -name '*.tmp*' -o -name '.*safetensors*')" ]
}

@test "tools: streams of another id map are refused" {
	cp "$HERE"/*.ids "$HERE/m.safetensors" .
	synth-ratings --users 60 --items 50 --ratings 1500 --seed 9 -o other.csv
	encode-ids -q --order sorted -u other-users.ids -i other-items.ids other.csv
	sample-neg -q --candidates 10 --known other.rec other.rec >other.lst
	fails 65 "of different" sample-neg -q --candidates 10 --known other.rec "$HERE/r.rec"
	fails 65 "different" score -q -m m.safetensors other.lst
	expect 65 decode-ids -u users.ids -i items.ids other.rec
}

@test "a producer that dies is not the end of the data" {
	fails 65 "the producer died or the file was cut" bash -c \
		"{ sample-neg -q --ratio 4 --epochs 50 '$HERE/r.rec' | head -c 200000; } | train-mlp -q -o m.safetensors -"
	[ ! -e m.safetensors ]
}

@test "a reader that leaves ends the writer quietly" {
	run --separate-stderr bash -c \
		"set -o pipefail; sample-neg -q --ratio 4 --epochs 100000 '$HERE/r.rec' | recdump -n 2 | tail -n 2"
	[ "$status" -eq 141 ]
	[ -z "$stderr" ]
	[ "${#lines[@]}" -eq 2 ]
	run --separate-stderr bash -c "recdump '$HERE/r.smp' '$HERE/r.smp' '$HERE/r.smp' '$HERE/r.smp' | head -n 1"
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
}

@test "a full disk exits 74 and says so" {
	fails 74 "No space left" sh -c "sample-neg -q --ratio 4 --epochs 9 '$HERE/r.rec' >/dev/full"
	fails 74 "No space left" sh -c "score -q -m '$HERE/m.safetensors' '$HERE/r.lst' >/dev/full"
}
