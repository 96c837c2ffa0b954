# The house: the runner of the tests itself, the dependency rule, packages, fetching of data sets.
load helpers

# fake_build: a build folder with unit "tests" written by the lines on stdin, one program a line: NAME BODY
fake_build() {
	mkdir -p fake/unit
	local name body
	while read -r name body; do
		printf '#!/usr/bin/env bash\n%s\n' "$body" >"fake/unit/test_$name"
		chmod +x "fake/unit/test_$name"
	done
}

@test "run: sums passed, failed and skipped, and the last line has the documented form" {
	fake_build <<-'LINES'
		good echo "ok 1 - a"; echo "ok 2 - b # SKIP no device"; echo 1..2
		bad echo "ok 1 - a"; echo "not ok 2 - b"; echo 1..2; exit 1
	LINES
	run "$TOP/tests/run" -k '^test_(good|bad)$' fake
	[ "$status" -eq 1 ]
	[ "${lines[-1]}" = "2 passed, 1 failed, 1 skipped" ]
}

@test "run: a suite that dies, ends early or exits non-zero without a reason has failed" {
	fake_build <<-'LINES'
		dies echo "ok 1 - a"; kill -9 $$
		early echo "ok 1 - a"; echo 1..2
		exits echo "ok 1 - a"; echo 1..1; exit 3
	LINES
	run "$TOP/tests/run" -k '^test_' fake
	[ "$status" -eq 1 ]
	[ "${lines[-1]}" = "3 passed, 3 failed, 0 skipped" ]
}

@test "run: nothing to run is an error, not a success" {
	mkdir -p fake/unit
	expect 64 "$TOP/tests/run" -k '^no such suite$' fake
}

# A copy of the checker with a small common/ of its own.
fake_house() {
	mkdir -p house/tests house/common house/tools house/cuda
	cp "$TOP/tests/check-includes" "$TOP/tests/levels.txt" house/tests/
	echo '#include <stddef.h>' >house/common/error.h
	echo '#include "error.h"' >house/common/stream.h
	echo '#include "stream.h"' >house/common/model.h
}

@test "check-includes: a clean tree passes" {
	fake_house
	run house/tests/check-includes gcc -Ihouse/common -fsyntax-only
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

breach() { # FILE LINE TEXT: a tree with LINE in FILE is refused, and TEXT stands in the answer
	fake_house
	printf '%s\n' "$2" >>"house/$1"
	run house/tests/check-includes gcc -Icommon -fsyntax-only
	[ "$status" -eq 1 ]
	[[ $output == *"$3"* ]] || { echo "$output" >&2; return 1; }
}

@test "check-includes: a lower level may not include a higher one" {
	breach common/error.c '#include "stream.h"' "common/error.c:1: error (level 0) includes stream (level 1)"
}

@test "check-includes: a tool may include only common/" {
	breach tools/x.c '#include "other.h"' "tools/x.c:1: a tool includes only common/"
}

@test "check-includes: a source is never included" {
	breach tools/x.c '#include "error.c"' "includes a source"
}

@test "check-includes: cuda/ sees three headers of common/ and CUDA stays there" {
	breach cuda/x.c '#include "stream.h"' "cuda/ includes only"
	breach common/model.c '#include <cuda_runtime.h>' "outside cuda/"
}

@test "check-includes: a module without a level is named" {
	breach common/novelty.c '#include "error.h"' "novelty.c is of no module"
}

@test "check-includes: a header that does not compile alone is named" {
	breach common/model.h 'size_tt broken(void);' "common/model.h: does not compile alone"
}

@test "deps: nothing missing means nothing done" {
	need dpkg-query
	mkdir house && cp "$TOP/deps.sh" house/
	echo "base-files  build  always there" >house/deps.txt
	PATH=/usr/bin:/bin expect 0 house/deps.sh
	[ -z "$output$stderr" ]
}

@test "deps: without root and sudo the exact command is printed" {
	need dpkg-query
	mkdir house stubs && cp "$TOP/deps.sh" house/
	printf 'base-files  build  x\nrecpipe-no-such-package  build  x\nalso-not-there optional x\n' >house/deps.txt
	printf '#!/bin/sh\necho 1000\n' >stubs/id
	printf '#!/bin/sh\nexit 1\n' >stubs/sudo
	chmod +x stubs/*
	PATH=$PWD/stubs:$PATH expect 69 house/deps.sh </dev/null
	[[ $stderr == *"apt-get update && apt-get install --no-install-recommends -y recpipe-no-such-package"* ]]
	[[ $stderr != *also-not-there* ]]
}

# A copy of data/fetch with a table of its own that "downloads" from files.
fake_sets() {
	mkdir -p data
	cp "$TOP/data/fetch" data/
	printf '1\t10\t5\t7\r\n1\t9\t3\t8\r\n' >upstream.tsv
	printf '%s\t%s\tfile://%s\t-\t%s\t%s\tnone\n' tiny pairs.tsv "$PWD/upstream.tsv" sorted-pairs \
		"$(printf '1\t9\n1\t10\n' | sha256sum | cut -d ' ' -f 1)" tiny lf.tsv.gz "$PWD/upstream.tsv" lf \
		"$(tr -d '\r' <upstream.tsv | sha256sum | cut -d ' ' -f 1)" >data/sets.tsv
	unset RECPIPE_DATA
}

@test "fetch: downloads, transforms, checks, and finds the set again" {
	need curl
	need unzip
	fake_sets
	expect 0 data/fetch tiny
	[ "$output" = "$PWD/data/cache/tiny" ]
	[ "$(cat data/cache/tiny/pairs.tsv)" = "$(printf '1\t9\n1\t10')" ]
	rm upstream.tsv
	expect 0 data/fetch tiny
	expect 0 data/fetch --check tiny
}

@test "fetch: a wrong digest keeps nothing" {
	need curl
	need unzip
	fake_sets
	sed -i '2s/\t[0-9a-f]\{8\}/\t00000000/' data/sets.tsv
	fails 1 "nothing kept" data/fetch tiny
	[ ! -e data/cache/tiny ]
	[ -z "$(ls -A data/cache)" ]
}

@test "fetch: RECPIPE_DATA comes first, a changed file is told" {
	fake_sets
	mkdir -p sets/tiny && echo x >sets/tiny/pairs.tsv
	RECPIPE_DATA=$PWD/sets expect 0 data/fetch --where tiny
	[ "$output" = "$PWD/sets/tiny" ]
	RECPIPE_DATA=$PWD/sets fails 1 "SHA-256 is" data/fetch --check tiny
}

@test "fetch: an unknown set and wrong usage" {
	fails 66 "no data set called 'nope'" "$TOP/data/fetch" nope
	expect 64 "$TOP/data/fetch"
	expect 64 "$TOP/data/fetch" --frobnicate
}

@test "scripts are clean under shellcheck" {
	need shellcheck
	cd "$TOP"
	shellcheck -x deps.sh pipeline.sh .ci/run data/fetch tests/run tests/check-includes tests/*/run
}
