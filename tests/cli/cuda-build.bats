#!/usr/bin/env bats
# What make does about nvcc: one that works, one that refuses the host compiler, none. By an nvcc that is none.
# shellcheck disable=SC2154  # $stderr is set by run
load helpers

setup() {
	fresh
	unset CUDA CUDA_ARCH NVCC_CCBIN # of the make that runs the tests
	cat >nvcc <<-'END'
		#!/usr/bin/env bash
		# Refuses every host compiler but the one named in ./good.
		here=$(dirname "$0")
		case " $* " in *" --list-gpu-arch "*) printf 'compute_80\ncompute_90\n'; exit ;; esac
		echo "$*" >>"$here/calls"
		case " $* " in *" -ccbin $(cat "$here/good" 2>/dev/null || echo none) "*) exit ;; esac
		echo "/cuda/include/host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions later than 12 are not supported!" >&2
		exit 1
	END
	chmod +x nvcc
}

# choice ARGUMENT…: what make says of CUDA before it compiles anything.
choice() {
	make --no-print-directory -C "$TOP" BUILD="$PWD/b" NVCC="$PWD/nvcc" "$@" "$PWD/b/flags"
}

@test "an nvcc that refuses the host compiler is left out, with its reason, and asked once" {
	run choice
	[ "$status" -eq 0 ]
	[[ $output == *"CUDA"*"$PWD/nvcc does not work here: unsupported GNU version! gcc versions later than 12 are not supported!"*"NVCC_CCBIN"*"CPU only"* ]]
	run choice CC=cc
	[ "$status" -eq 0 ]
	[[ $output == *"CPU only"* ]]
	[ "$(wc -l <calls)" -eq 1 ]
	run make -C "$TOP" BUILD="$PWD/b" NVCC="$PWD/nvcc" -n all
	[ "$status" -eq 0 ]
	[[ $output != *recpipe_cuda.so* ]]
}

@test "who insists on it is told why not" {
	run choice CUDA=1
	[ "$status" -ne 0 ]
	[[ $output == *"CUDA=1, but $PWD/nvcc does not work here: unsupported GNU version!"* ]]
	run make -C "$TOP" BUILD="$PWD/b" NVCC="$PWD/nvcc" cuda
	[ "$status" -ne 0 ]
	[[ $output == *"unsupported GNU version!"* ]]
	run choice CUDA=1 NVCC=
	[ "$status" -ne 0 ]
	[[ $output == *"there is no nvcc"* ]]
}

@test "another host compiler, or another nvcc, is asked again" {
	echo g++-11 >good
	run choice
	[[ $output == *"CPU only"* ]]
	run choice NVCC_CCBIN=g++-11
	[ "$status" -eq 0 ]
	[[ $output == *"CUDA    $PWD/nvcc"* ]]
	run make -C "$TOP" BUILD="$PWD/b" NVCC="$PWD/nvcc" NVCC_CCBIN=g++-11 V=1 -n cuda
	[[ $output == *"nvcc -ccbin g++-11 -std=c++17"* ]]
	printf '#!/bin/sh\n' >nvcc
	touch -d '2001-01-01' nvcc
	run choice
	[[ $output == *"CUDA    $PWD/nvcc"* ]]
}

@test "CUDA=0 does not look" {
	run choice CUDA=0
	[ "$status" -eq 0 ]
	[[ $output == *"not wanted (CUDA=0): CPU only"* ]]
	[ ! -e calls ]
}
