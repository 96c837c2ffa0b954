# shellcheck shell=bash disable=SC2154,SC2034  # variables shared with run and the groups
# What the groups of rows share: the record of raw values, the stopwatch, data sets, the server of peers.
#
# A raw value is one line of $raw: name, role, label, better, value.
#   ours      label is the unit, better is `higher` or `lower`; one line a repeat
#   peer      label is whose value it is; one line a repeat
#   ceiling   label is the name of a ceiling.… row; value is what to multiply it by to get this row's unit
# tests/bench/table makes medians and ratios of them.
#
# $runs repeats; $threads threads at most; $best_isa the best instruction set here; $work a folder that goes away.

wanted() { # NAME…: whether one of them is asked for
	local name
	for name in "$@"; do
		if [[ $name =~ $pattern ]]; then
			found=1
			return 0
		fi
	done
	return 1
}

record() { # NAME ROLE LABEL BETTER VALUE
	case $5 in nan | NaN | '') return 0 ;; esac
	printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$raw"
}

ours() { # NAME UNIT higher|lower VALUE
	record "$1" ours "$2" "$3" "$4"
}

peer() { # NAME WHO VALUE
	record "$1" peer "$2" - "$3"
}

ceiling() { # NAME CEILING FACTOR
	record "$1" ceiling "ceiling.$2" - "$3"
}

calculate() { # EXPRESSION: of numbers
	awk "BEGIN { printf \"%.9g\", ($1) }"
}

# timed COMMAND…: runs it; leaves $elapsed, $cpu (seconds) and $peak (bytes). Its output goes away, its errors do not.
timed() {
	stopwatch "$work/account" "$@" >/dev/null 2>"$work/errors" </dev/null || {
		local status=$?
		echo "bench: exit $status from: $*" >&2
		cat "$work/errors" >&2
		return "$status"
	}
	read -r elapsed cpu peak <"$work/account"
}

# figure_of PROGRAM…: the value it prints (the line that begins with $1).
figure_of() {
	local which=$1
	shift
	"$@" </dev/null | awk -F '\t' -v which="$which" '$1 == which { print $2 }'
}

missing_sets=''
have() { # SET: its folder into $set; without it one line says so
	set=$("$top/data/fetch" --where "$1")
	[ ! -d "$set" ] || return 0
	case $missing_sets in *" $1 "*) ;; *)
		missing_sets="$missing_sets $1 "
		echo "bench: no $1 (data/fetch $1): skipped" >&2
		;;
	esac
	return 1
}

# The parts of ml-1m as records, once: in $ml1m; the number of training positives: $positives.
ml1m() {
	have ncf-ml-1m || return 1
	ml1m=$work/ml1m
	[ -e "$ml1m/train.rec" ] ||
		{ mkdir -p "$ml1m" && gzip -dc "$set/train.tsv.gz" | awk -v n="$train_rows" 'NR <= n' >"$ml1m/train.tsv" &&
			cut -f 1,2 "$set/test.tsv" >"$ml1m/test.tsv" &&
			encode-ids -q --unknown keep --columns user,item --users "$ml1m/users.ids" \
				--items "$ml1m/items.ids" --out "$ml1m" "$ml1m/train.tsv" "$ml1m/test.tsv"; } || exit
	positives=$(wc -l <"$ml1m/train.tsv")
}

enough_disk() { # BYTES: whether so much is free where $work is
	[ "$(($(df -Pk "$work" | awk 'NR == 2 { print $4 }') * 1024))" -gt "$1" ] || {
		echo "bench: less than $(($1 / 1000000)) MB free in ${TMPDIR:-/tmp}: skipped" >&2
		return 1
	}
}

# ---- peers: a server that answers a line a command ----

peers='' peers_tried=''
start_peers() { # leaves $peers, the name of what answers; empty where nothing does
	[ -z "$peers_tried" ] || return 0
	peers_tried=1
	local python=${BENCH_PYTHON-python3}
	if [ -z "$python" ] || ! "$python" -c 'import numpy, torch' 2>/dev/null; then
		echo "bench: no PyTorch (BENCH_PYTHON names a Python that has torch and numpy): no rows have it beside them" >&2
		return 0
	fi
	coproc PEERS { exec "$python" "$top/tests/bench/torch_peers.py"; }
	read -r peers <&"${PEERS[0]}" || peers=''
}

have_peers() {
	start_peers
	[ -n "$peers" ]
}

ask() { # COMMAND…: its answer into $answer
	echo "$*" >&"${PEERS[1]}"
	read -r answer <&"${PEERS[0]}" || { echo "bench: the server of peers died on: $*" >&2; return 1; }
}

stop_peers() {
	[ -z "$peers" ] || { echo quit >&"${PEERS[1]}" && wait "$PEERS_PID"; } || true
	peers=''
}
