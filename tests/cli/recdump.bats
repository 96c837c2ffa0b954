# recdump: what it prints of each kind of file, and its verdicts.
load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return 1
	"$GEN/broken-streams" streams >table
	printf 'user,item\nann,"a\tb"\nann,"back\\slash"\nbob,"two\nlines"\nbob,caf\xc3\xa9\n' >odd.csv
	encode-ids -q -u users.ids -i items.ids odd.csv
}

setup() {
	fresh
	MADE=$BATS_FILE_TMPDIR/streams
	IDS=$BATS_FILE_TMPDIR/items.ids
	common='{"items":{"count":5,"digest":""},"options":"","tool":"by hand","users":{"count":3,"digest":""}}'
}

# prints FILE [OPTION...]: what recdump prints must be stdin, to the byte.
prints() {
	cat >expected
	expect 0 recdump "$@"
	[ -z "$stderr" ]
	recdump "$@" | diff -u expected -
}

@test "interactions: header, names of columns, a line each" {
	prints "$MADE/whole.rec" <<-END
		# interactions, version 1
		# $common
		user	item	rating	time
		0	4	4.5	123456789
		1	3	4.5	123456789
		2	0	4.5	123456789
	END
}

@test "samples: a column for each negative, - where there is none" {
	prints "$MADE/whole.smp" <<-END
		# samples, version 1
		# {"epochs":1,"items":{"count":5,"digest":""},"options":"","positives":2,"ratio":1,"tool":"by hand","users":{"count":3,"digest":""}}
		user	positive	negative_1
		0	1	2
		2	3	-
	END
}

@test "lists: a line for each entry" {
	prints "$MADE/whole.lst" <<-END
		# lists, version 1
		# {"items":{"count":5,"digest":""},"options":"","ranking":"full","scored":true,"tool":"by hand","users":{"count":3,"digest":""}}
		user	rank	item	score	popularity	relevant	relevant_total
		1	1	4	1.5	7	0	1
		1	2	2	-2	9	1	1
	END
}

@test "similarity: a line for each weight, listed or in a run" {
	prints "$MADE/whole.sim" <<-END
		# similarity, version 1
		# {"items":{"count":5,"digest":""},"method":"cosine","options":"","tool":"by hand","users":{"count":3,"digest":""}}
		item	neighbour	weight
		1	0	1.5
		1	4	-2
		2	3	7
		2	4	0
	END
}

@test "ids: every string keeps to its line and column" {
	recdump "$IDS" >all
	[ "$(head -n 1 all)" = "# ids, version 1" ]
	[[ $(sed -n 2p all) == '# {'*'"count":4,'*'"what":"items"}' ]]
	sed 1,2d all | diff - <(printf 'id\tstring\n0\ta\\tb\n1\tback\\\\slash\n2\ttwo\\nlines\n3\tcaf\xc3\xa9\n')
}

@test "--count, --header, --json" {
	recdump "$MADE/whole.rec" >all
	prints --count 2 "$MADE/whole.rec" < <(head -n 5 all)
	prints -n 0 "$MADE/whole.rec" < <(head -n 3 all)
	prints -n 99 "$MADE/whole.rec" <all
	prints -n -1 "$MADE/whole.rec" <all
	prints --header "$MADE/whole.rec" < <(head -n 2 all)
	prints --json "$MADE/whole.lst" <<-END
		{
		  "kind": "lists",
		  "metadata": {
		    "items": {
		      "count": 5,
		      "digest": ""
		    },
		    "options": "",
		    "ranking": "full",
		    "scored": true,
		    "tool": "by hand",
		    "users": {
		      "count": 3,
		      "digest": ""
		    }
		  },
		  "version": 1
		}
	END
	fails 64 "--count: '-2'" recdump --count -2 "$MADE/whole.rec"
	fails 64 "--verify reads everything" recdump --verify --json "$MADE/whole.rec"
	fails 64 "--verify reads everything" recdump --verify --count 1 "$MADE/whole.rec"
	fails 64 "--verify reads everything" recdump --verify --header "$MADE/whole.rec"
}

@test "--header and --count need no more of a stream than they print" {
	prints --header "$MADE/no-end.rec" < <(recdump --header "$MADE/whole.rec")
	prints --count 3 "$MADE/no-end.rec" < <(recdump "$MADE/whole.rec")
}

@test "stdin, a pipe by name, .gz: the same" {
	recdump "$MADE/whole.rec" >all
	recdump <"$MADE/whole.rec" | diff all -
	recdump - <"$MADE/whole.rec" | diff all -
	recdump <(cat "$MADE/whole.rec") | diff all -
	gzip -c "$MADE/whole.rec" | recdump | diff all -
}

@test "several files are told apart" {
	recdump -n 1 "$MADE/whole.rec" "$MADE/whole.smp" >all
	[ "$(grep -c '^# file ' all)" -eq 2 ]
	[ "$(sed -n 1p all)" = "# file $MADE/whole.rec" ]
	[ "$(sed -n 6p all)" = "# file $MADE/whole.smp" ]
	[ "$(wc -l <all)" -eq 10 ]
}

@test "what comes before the damage is printed, then the error" {
	expect 65 recdump "$MADE/newline-behind.rec"
	[ "${#lines[@]}" -eq 6 ]
	[ "$stderr" = "recdump: $MADE/newline-behind.rec: byte 240: something follows the end block" ]
}

@test "--out appears whole or not at all" {
	expect 0 recdump -o out.txt "$MADE/whole.rec"
	[ -z "$output" ]
	recdump "$MADE/whole.rec" | diff out.txt -
	expect 65 recdump -o none.txt "$MADE/newline-behind.rec"
	[ ! -e none.txt ]
	fails 73 none/such recdump -o none/such/out.txt "$MADE/whole.rec"
	fails 74 "cannot write" recdump -o /dev/full "$MADE/whole.rec"
	fails 74 "cannot write" sh -c 'recdump "$1" >/dev/full' sh "$MADE/whole.rec"
	[ -z "$(find . -name '*out.txt*' ! -name out.txt)" ]
}

@test "--verify: one line for each whole file" {
	expect 0 recdump --verify "$MADE/whole.rec" "$MADE/packed.rec" "$MADE/no-records.rec" "$IDS"
	[ -z "$stderr" ]
	[ "${#lines[@]}" -eq 4 ]
	[ "${lines[0]}" = "$(printf '%s\tOK\tinteractions\t3 records\t1 blocks\tcrc %s' "$MADE/whole.rec" "$(
		tail -c 88 "$MADE/whole.rec" | head -c 60 | gzip -c | tail -c 8 | od -An -tx4 -N4 | tr -d ' ')")" ]
	[[ ${lines[1]} == *$'packed.rec\tOK\tinteractions\t3 records\t1 blocks\tcrc '"${lines[0]: -8}" ]]
	[[ ${lines[2]} == *$'no-records.rec\tOK\tinteractions\t0 records\t0 blocks\tcrc 00000000' ]]
	[[ ${lines[3]} == *$'items.ids\tOK\tids\t4 records\t1 blocks\tcrc '???????? ]]
	expect 0 recdump -V - <"$MADE/whole.rec"
	[[ $output == $'(stdin)\tOK\t'* ]]
}

@test "--verify: broken files are told, the others still judged" {
	expect 1 recdump --verify "$MADE/cut.rec" "$MADE/whole.rec" "$MADE/twice.rec"
	[[ $output == *$'whole.rec\tOK\t'* ]]
	[ "${#lines[@]}" -eq 1 ]
	[[ $stderr == *"cut.rec: byte 238: ends without its end block"* ]]
	[[ $stderr == *"twice.rec: byte 240: something follows the end block"* ]]
	[[ $stderr == *"recdump: 2 of 3 files are broken" ]]
}

@test "--verify: a file that is not there is another answer than a broken one" {
	fails 66 "none.rec: cannot open" recdump --verify "$MADE/cut.rec" none.rec "$MADE/whole.rec"
	[[ $stderr == *"cut.rec: "* ]]
	[[ $output == *$'whole.rec\tOK\t'* ]]
	fails 66 "is a folder" recdump --verify .
	fails 66 "none.rec: cannot open" recdump none.rec
}

@test "--verify: an id map whose digest or count is not that of its strings" {
	expect 0 recdump --verify "$IDS"
	# shellcheck source=/dev/null
	. "$GEN/stream.bash"
	{ u32 1; printf a; u32 1; printf b; } >payload
	stream 4 '{"count":2,"digest":"0123456789abcdef0123456789abcdef","what":"users"}' 2 payload >lie.ids
	expect 1 recdump --verify lie.ids
	[[ $stderr == *"lie.ids: holds 2 ids of digest "*", its header says 2 of 0123456789abcdef0123456789abcdef"* ]]
	{ u32 1; printf a; u32 1; printf a; } >payload
	stream 4 '{"count":2,"digest":"0123456789abcdef0123456789abcdef","what":"users"}' 2 payload >doubled.ids
	expect 1 recdump --verify doubled.ids
	[[ $stderr == *"doubled.ids: ids 0 and 1 are the same string"* ]]
	stream 4 '{"count":2}' 2 payload >bare.ids
	expect 1 recdump --verify bare.ids
	[[ $stderr == *"bare.ids: its metadata is not that of an id map"* ]]
}

@test "models: metadata and tensors; a changed weight is found" {
	synth-ratings --users 20 --items 15 --ratings 200 -o r.csv
	encode-ids -q -u u.ids -i i.ids r.csv
	train-mlp -q -e 1 -o m.safetensors r.rec
	expect 0 recdump m.safetensors
	[ "${lines[0]}" = "# model, version 1" ]
	[[ ${lines[1]} == '# {'*'"format":"recpipe-model"'*'}' ]]
	[ "${lines[2]}" = $'tensor\trows\tcolumns' ]
	[ "${lines[3]}" = $'user_embedding\t20\t64' ]
	[ "${lines[-1]}" = $'mlp.5.bias\t1\t1' ]
	expect 0 recdump --json m.safetensors
	[[ $output == *'"kind": "model"'* ]]
	expect 0 recdump --verify m.safetensors r.rec
	[[ ${lines[0]} == $'m.safetensors\tOK\tmodel\t14 tensors\tdigest '???????????????????????????????? ]]
	[[ ${lines[1]} == $'r.rec\tOK\tinteractions\t200 records\t'* ]]
	{ head -c -1 m.safetensors; printf '\x01'; } >changed.safetensors
	expect 1 recdump --verify changed.safetensors
	[[ $stderr == *"changed.safetensors: its tensors are damaged (digest)"* ]]
	head -c -1 m.safetensors >cut.safetensors
	expect 1 recdump --verify cut.safetensors
	[[ $stderr == *"cut.safetensors: "*"cut short"* ]]
}
