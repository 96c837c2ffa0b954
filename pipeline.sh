#!/usr/bin/env bash
# The nightly driver over the stage graph of `make pipeline`: one lock, a log, a gate, an atomic publish.
set -euo pipefail

usage() {
	cat <<'TEXT'
Usage: pipeline.sh [OPTION]... [SETTING=VALUE]...

Runs `make pipeline` (only the stages that are stale), then publishes the model and the recommendations.
A night that broke off is resumed: finished stages are kept, training goes on from its checkpoint.

  -d, --data NAME         public data set: ml-latest-small, ml-100k, ncf-ml-1m, seed-split
  -r, --ratings FILE      your own ratings; without --data and --ratings: the embedded example
  -m, --movies FILE       titles for --ratings
  -c, --conf FILE         settings over those of pipeline.conf
  -n, --name NAME         name of the run folder run/NAME (default: after the data)
  -p, --publish FOLDER    where to publish (default: published/NAME); "" publishes nothing
  -k, --keep N            old versions to keep beside the current one (default 7)
  -g, --gate MEASURE>=X   publish only when a measure of the full ranking, after re-ranking, holds, e.g.
                          'NDCG@10>=0.05'; sampled:MEASURE>=X takes the sampled one; may be repeated
  -l, --log FILE          log to append to (default: run/NAME.log)
  -v, --verbose           show the log as it is written (always so on a terminal)
  -h, --help              this text

FOLDER/current is a link to the version in use; it is swapped by one rename, so that a reader finds the old
version or the new one, whole. A version holds model.safetensors, users.ids, items.ids, recommendations.csv,
recommendations.jsonl, what the re-ranking takes (blend.json, fit.rec: what users know, models/), report.txt,
report.tsv and SHA256SUMS. When nothing changed nothing is published.

Exit: 0 done (published, or nothing new) · 1 the gate is not met: nothing published · 64 usage · 75 another
run holds the lock · 78 a setting is wrong · 70 the build failed · 73 cannot publish · otherwise the exit code
of the stage that failed (65 bad data, 66 no input, 71 memory, 74 I/O, ...); 128 + N: ended by signal N.
TEXT
}

die() { # CODE TEXT: before there is a log
	echo "pipeline.sh: $2" >&2
	exit "$1"
}

top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=$PWD
data='' ratings='' movies='' conf='' name='' publish=default keep=7 log='' verbose='' gates=() settings=()

absolute() {
	case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac
}

parse() {
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help) usage; exit 0 ;;
		-v | --verbose) verbose=1; shift; continue ;;
		-*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
		-d | --data | -r | --ratings | -m | --movies | -c | --conf | -n | --name | -p | --publish | -k | --keep | \
			-g | --gate | -l | --log)
			[ $# -ge 2 ] || die 64 "$1 needs a value; see --help" ;;
		[A-Z]*=*) settings+=("$1"); shift; continue ;;
		*) die 64 "unknown option or operand '$1'; see --help" ;;
		esac
		case $1 in
		-d | --data) data=$2 ;;
		-r | --ratings) ratings=$(absolute "$2") ;;
		-m | --movies) movies=$(absolute "$2") ;;
		-c | --conf) conf=$(absolute "$2") ;;
		-n | --name) name=$2 ;;
		-p | --publish) publish=${2:+$(absolute "$2")} ;;
		-k | --keep) keep=$2 ;;
		-g | --gate) gates+=("$2") ;;
		-l | --log) log=$(absolute "$2") ;;
		esac
		shift 2
	done
	[[ $keep =~ ^[0-9]{1,6}$ ]] || die 64 "--keep: '$keep' is no count"
	[[ ${name:-x} =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die 64 "--name: '$name': letters, digits, dots, - and _ only"
	[ -z "$data" ] || [ -z "$ratings" ] || die 64 "--data and --ratings exclude each other"
	[ -z "$movies" ] || [ -n "$ratings" ] || die 64 "--movies goes with --ratings"
	[ -z "$ratings" ] || [ -r "$ratings" ] || die 66 "$ratings: cannot be read"
	local gate
	for gate in "${gates[@]}"; do
		[[ $gate =~ ^(sampled:|full:)?[A-Za-z]+(@[0-9]+)?\>=[0-9]*\.?[0-9]+$ ]] ||
			die 64 "--gate: '$gate' is not MEASURE>=NUMBER"
	done
}

say() {
	printf '%(%Y-%m-%dT%H:%M:%S%z)T %s\n' -1 "$*" >>"$log"
	[ -z "$verbose" ] || printf '%s\n' "$*"
}

# Ends the run: the reason goes to the log and, for cron's mail, to stderr.
fail() { # CODE TEXT
	say "failed ($1): $2"
	echo "pipeline.sh: $2 (log: $log)" >&2
	exit "$1"
}

stamped() { # stdin, line by line, into the log
	local line
	trap '' INT TERM HUP
	while IFS= read -r line || [ -n "$line" ]; do say "$line"; done
}

child=''
interrupted() { # SIGNAL NUMBER
	trap '' INT TERM HUP
	[ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
	[ -z "$child" ] || wait "$child" 2>/dev/null || true
	fail $((128 + $2)) "ended by SIG$1; the next run resumes"
}

run_make() { # ARGUMENT...: make's exit status; what it says goes to the log
	local status=0 out stamper
	exec {out}> >(stamped)
	stamper=$!
	make -C "$top" --no-print-directory "$@" "${variables[@]}" >&"$out" 2>&1 {out}>&- &
	child=$!
	exec {out}>&-
	wait "$child" || status=$?
	child=''
	wait "$stamper" || true
	return "$status"
}

# The value of a measure in report.tsv: system "reranked", the ranking asked for.
measured() { # RANKING MEASURE
	awk -F '\t' -v ranking="$1" -v measure="$2" \
		'$1 == "reranked" && $2 == ranking && $3 == measure { print $4 }' "$run/report.tsv"
}

check_gates() {
	local gate ranking measure value limit
	for gate in "${gates[@]}"; do
		ranking=full
		case $gate in sampled:* | full:*) ranking=${gate%%:*} gate=${gate#*:} ;; esac
		measure=${gate%%>=*} limit=${gate#*>=}
		value=$(measured "$ranking" "$measure")
		[ -n "$value" ] || fail 78 "--gate: the report has no $ranking $measure"
		awk -v value="$value" -v limit="$limit" 'BEGIN { exit !(value + 0 >= limit + 0) }' ||
			fail 1 "gate not met: $ranking $measure is $value, below $limit; nothing published"
		say "gate met: $ranking $measure is $value, at least $limit"
	done
}

# Tools write by rename and never into a file, so a published file can be a link to the run's; reports are rewritten.
copy() { # FROM TO
	case $1 in
	*.rec | *.safetensors) cp -l -- "$1" "$2" 2>/dev/null || cp -- "$1" "$2" ;;
	*) cp -- "$1" "$2" ;;
	esac
}

publish_version() {
	local version new file sums served
	mkdir -p "$publish" || fail 73 "$publish: cannot be created"
	served=()
	for file in $(make -C "$top" --no-print-directory -s print-served "${variables[@]}"); do
		[ ! -s "$run/$file" ] || served+=("$file") # weights that the data cannot give are empty
	done
	sums=$(cd "$run" && sha256sum "${served[@]}")
	if [ "$sums" = "$(grep -v ' report\.' "$publish/current/SHA256SUMS" 2>/dev/null)" ]; then
		say "nothing new: $publish/current is the same model and recommendations"
		return
	fi
	rm -rf "$publish"/.new.*
	new=$(mktemp -d "$publish/.new.XXXXXX") || fail 73 "$publish: cannot be written"
	for file in "${served[@]}" report.txt report.tsv; do
		mkdir -p -- "$(dirname "$new/$file")" || fail 73 "$publish: cannot be written"
		copy "$run/$file" "$new/$file" || fail 73 "$publish: $file cannot be copied"
	done
	{ printf '%s\n' "$sums" && cd "$new" && sha256sum report.txt report.tsv; } >"$new/SHA256SUMS" ||
		fail 73 "$publish: cannot be written"
	chmod 755 "$new"
	TZ=UTC printf -v version '%(%Y%m%dT%H%M%S)T-%s' -1 "$(sha256sum "$new/SHA256SUMS" | cut -c 1-8)"
	find "$new" -exec sync -- {} + || fail 74 "$new: sync failed"
	mv -T -- "$new" "$publish/$version" || fail 73 "$publish/$version: cannot be created"
	if ! ln -sfn -- "$version" "$publish/.current.new" || ! mv -T -- "$publish/.current.new" "$publish/current"; then
		fail 73 "$publish/current: cannot be replaced"
	fi
	sync -- "$publish" || fail 74 "$publish: sync failed"
	say "published $publish/$version"
	prune "$version"
}

prune() { # CURRENT: removes all but the newest $keep other versions
	local old
	find "$publish" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*T[0-9]*-*' ! -name "$1" -printf '%f\n' |
		sort -r | tail -n +$((keep + 1)) | while IFS= read -r old; do
		rm -rf -- "${publish:?}/$old"
		say "removed old version $old"
	done
}

main() {
	parse "$@"
	[ -t 1 ] && verbose=1
	variables=("${settings[@]}")
	[ -z "$data" ] || variables+=("DATA=$data")
	[ -z "$ratings" ] || variables+=("RATINGS=$ratings")
	[ -z "$movies" ] || variables+=("MOVIES=$movies")
	[ -z "$conf" ] || variables+=("CONF=$conf")
	[ -z "$name" ] || variables+=("RUN=run/$name")
	command -v flock >/dev/null || die 69 "flock is not installed: make deps"

	# make answers where the run folder is, and refuses settings that are wrong.
	run=$(make -C "$top" --no-print-directory -s print-run "${variables[@]}") || exit 78
	case $run in /*) ;; *) run=$top/$run ;; esac
	mkdir -p "$(dirname "$run")" || die 73 "$(dirname "$run"): cannot be created"
	: "${log:=$run.log}"
	[ "$publish" != default ] || publish=$top/published/$(basename "$run")
	exec 9>"$run.lock" || die 73 "$run.lock: cannot be created"
	flock -n 9 || die 75 "another run holds $run.lock; try again later"
	: >>"$log" || die 73 "$log: cannot be written"

	trap 'interrupted HUP 1' HUP
	trap 'interrupted INT 2' INT
	trap 'interrupted TERM 15' TERM
	local started=$SECONDS stage code
	say "begins: ${variables[*]:-the embedded example}"
	rm -f "$run/failed"
	run_make -j"$(nproc)" all || fail 70 "the build failed"
	if ! run_make pipeline; then
		if read -r stage code 2>/dev/null <"$run/failed"; then
			fail "$code" "stage $stage failed with exit code $code"
		fi
		fail 70 "make pipeline failed"
	fi
	check_gates
	[ -z "$publish" ] || publish_version
	say "done in $((SECONDS - started)) s"
}

main "$@"
