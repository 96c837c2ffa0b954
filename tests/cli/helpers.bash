# What every bats file shares: `load helpers` first.
#
#   $TOP      the repository        $BIN   the tools under test (on PATH as well)
#   $GOLDEN   tests/golden          $GEN   tests/gen (makers of bad files)
#   $DATA     the folder of public data sets, or empty: a test that uses it calls `need_data FOLDER` first
#
# Each test runs in a fresh folder of its own ($BATS_TEST_TMPDIR); a file with its own setup() calls `fresh`.
# shellcheck disable=SC2034,SC2154  # variables that the test files and bats' run use and set
bats_require_minimum_version 1.5.0

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=${RECPIPE_BIN:-$TOP/build/bin}
GOLDEN=$TOP/tests/golden
GEN=$TOP/tests/gen
DATA=${RECPIPE_DATA:-}
export PATH=$BIN:$PATH
export RECPIPE_DEVICE=cpu # what --device auto means: tests compare bytes, and devices have their own (cuda.bats)

fresh() {
	cd "$BATS_TEST_TMPDIR" || return 1
}

setup() {
	fresh
}

# small_world: for setup_file(): 60 users' ratings, cut and encoded, in the folder that a file's tests share.
small_world() {
	cd "$BATS_FILE_TMPDIR" || return 1
	synth-ratings --users 60 --items 150 --ratings 3000 --seed 3 -o ratings.csv
	csvsplit -q ratings.csv
	encode-ids --users users.ids --items items.ids train.csv valid.csv test.csv 2>/dev/null
}

# need_data FOLDER: skips the test unless the data set is there.
need_data() {
	[ -n "$DATA" ] || skip "RECPIPE_DATA is not set"
	[ -d "$DATA/$1" ] || skip "no $1 under RECPIPE_DATA"
}

# need COMMAND: skips the test where a program is not installed.
need() {
	command -v "$1" >/dev/null || skip "$1 is not installed"
}

# not_sanitized: skips a test that the sanitizers make meaningless (limits of memory, speed).
not_sanitized() {
	[ -z "${RECPIPE_SANITIZED:-}" ] || skip "not under sanitizers"
}

# bench_programs: for setup_file(): makes the programs that measure, one file of tests at a time; none under sanitizers,
# whose figures mean nothing, and which would build others.
bench_programs() {
	local build
	[ -z "${RECPIPE_SANITIZED:-}" ] || return 0
	build=$(dirname "$BIN")
	flock "$build/flags" make -C "$TOP" -s BUILD="$build" bench-programs >"$BATS_FILE_TMPDIR/made" 2>&1 ||
		{ cat "$BATS_FILE_TMPDIR/made" >&2; return 1; }
}

# expect CODE COMMAND…: the exit code is CODE, no signal, and a failure says "tool: …" on stderr, one line at
# least. Leaves $output (stdout) and $stderr.
expect() {
	local code=$1
	shift
	run --separate-stderr "$@"
	if [ "$status" -ne "$code" ]; then
		printf 'expected exit %s, got %s from: %s\nstdout: %s\nstderr: %s\n' "$code" "$status" "$*" \
			"${output:0:600}" "${stderr:0:2000}" >&2
		return 1
	fi
	if [ "$code" -ge 64 ] && [[ $stderr != *": "* ]]; then
		printf 'exit %s without a message from: %s\n' "$code" "$*" >&2
		return 1
	fi
}

# fails CODE TEXT COMMAND…: `expect`, and TEXT stands in the message.
fails() {
	local code=$1 text=$2
	shift 2
	expect "$code" "$@"
	if [[ $stderr != *"$text"* ]]; then
		printf 'message lacks "%s": %s\n' "$text" "$stderr" >&2
		return 1
	fi
}

# same A B: byte for byte.
same() {
	cmp -- "$1" "$2"
}

# nothing_left FILE: neither the file nor a temporary of it is there.
nothing_left() {
	local found
	found=$(find "$(dirname "$1")" -maxdepth 1 -name "*$(basename "$1")*")
	[ -z "$found" ] || { echo "left behind: $found" >&2; return 1; }
}
