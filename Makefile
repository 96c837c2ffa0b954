# recpipe: build, test, install, and the pipeline from raw ratings to HR@10 / NDCG@10.
# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

SANITIZE ?= 0
BUILD ?= $(if $(filter 1,$(SANITIZE)),build/asan,build)
PREFIX ?= /usr/local
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
CFLAGS ?= -O2 -g
V ?= 0
empty :=
space := $(empty) $(empty)
ifeq ($(V),1)
say = @:
Q :=
else
say = @printf '  %-7s %s\n'
Q := @
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wmissing-prototypes -Wstrict-prototypes \
            -Wvla -Wformat=2 -Wundef
WERROR ?= $(if $(filter-out false 0,$(CI)),1)
# No contraction and no fast maths: the same source must give the same bits with every instruction set.
FLAGS := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Icommon $(WARNINGS) $(if $(WERROR),-Werror) \
         -ffp-contract=off -fno-strict-overflow -pthread
LIBS := -ljansson -lxxhash -lz -ldl -lm -pthread
ifeq ($(SANITIZE),1)
FLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

library := $(BUILD)/librecpipe.a
# common/NAME_isa.c is compiled once for each instruction set, the one to use is chosen at start (common/isa.h).
isa_sources := $(wildcard common/*_isa.c)
common_sources := $(filter-out $(isa_sources),$(wildcard common/*.c))
tool_sources := $(wildcard tools/*.c)
# test_watch*.c hold kernels, which are built as those of cuda/ are.
watch_sources := $(wildcard tests/unit/test_watch*.c)
unit_sources := $(filter-out $(watch_sources),$(wildcard tests/unit/test_*.c))
tools := $(tool_sources:tools/%.c=$(BUILD)/bin/%)
unit_tests := $(unit_sources:tests/unit/%.c=$(BUILD)/unit/%)

isas := avx512 avx2 portable
isa_flags_avx512 := -O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mbmi2 -mpclmul -mprefer-vector-width=512
isa_flags_avx2 := -O3 -mavx2 -mfma -mbmi2 -mpclmul
isa_flags_portable := -O3
# Products of bfloat16 by tiles, in assembly: everything else of it is AVX-512.
isa_flags_amx := $(isa_flags_avx512)
# Unrolled tiles under UBSan take minutes to compile: sanitized kernels keep ASan alone.
kernel_flags := $(if $(filter 1,$(SANITIZE)),-O1 -fno-sanitize=undefined -fno-var-tracking-assignments)
# $(call isa_objects,FOLDER): FOLDER/NAME_isa_ISA.o of each
isa_objects = $(foreach source,$(isa_sources:common/%.c=%),$(isas:%=$1/$(source)_%.o)) $1/kernels_bf16_isa_amx.o
kernel_objects := $(call isa_objects,$(BUILD)/common)
common_objects := $(common_sources:common/%.c=$(BUILD)/common/%.o) $(kernel_objects)

# Sub-makes use every core unless -j was given.
jobs = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all
all: $(tools) ## build the tools (build/bin); the default

# Typed as `make deps pipeline`, whatever -j says, the packages come before the first use of them.
after_deps := $(if $(filter deps,$(MAKECMDGOALS)),deps)

# The CUDA backend is one shared object, opened at run time: CUDA=0 never looks for nvcc, CUDA=1 insists on it. An nvcc that
# does not get along with the host compiler is told from one that does by an empty kernel; NVCC_CCBIN names another compiler.
CUDA ?= auto
cuda_sources := $(wildcard cuda/*.cu)
ifneq ($(CUDA),0)
NVCC ?= $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
ifeq ($(CUDA)$(NVCC),1)
$(error CUDA=1, but there is no nvcc on PATH)
endif
ifneq ($(if $(filter-out help clean lint deps uninstall,$(or $(MAKECMDGOALS),all)),$(if $(filter-out 1,$(SANITIZE)),$(NVCC))),)
cuda_trouble := $(shell cuda/probe '$(BUILD)/cuda/probed' '$(NVCC)' '$(NVCC_CCBIN)')
endif
ifneq ($(cuda_trouble),)
cuda_trouble := $(NVCC) does not work here: $(cuda_trouble) (NVCC_CCBIN=g++-13, say, names another host compiler)
ifeq ($(CUDA),1)
$(error CUDA=1, but $(cuda_trouble))
endif
override NVCC :=
endif
else
override NVCC :=
endif
cuda_missing := $(or $(cuda_trouble),no nvcc found)
cuda_choice := $(if $(filter 0,$(CUDA)),not wanted (CUDA=0),$(or $(NVCC),$(cuda_missing)))
cuda_object := $(if $(NVCC),$(if $(filter 1,$(SANITIZE)),,$(BUILD)/lib/recpipe/recpipe_cuda.so))
# Compute capabilities that get code of their own, those of them that this nvcc knows; the newest also gets PTX, which
# drivers compile for devices to come. Code of 8.0 runs on 8.6 and 8.9 as well. Each costs twelve seconds of a core: CI
# compiles for the last one alone.
cuda_known = $(if $(cuda_known_once),,$(eval cuda_known_once := $(shell $(NVCC) --list-gpu-arch)))$(cuda_known_once)
CUDA_ARCH ?= $(if $(WERROR),,$(if $(filter compute_70,$(cuda_known)),70,75) 80) 90
cuda_archs = $(foreach arch,$(CUDA_ARCH),$(if $(filter compute_$(arch),$(cuda_known)),$(arch)))
cuda_codes = $(foreach arch,$(cuda_archs),-gencode arch=compute_$(arch),code=sm_$(arch)) \
             -gencode arch=compute_$(lastword $(cuda_archs)),code=compute_$(lastword $(cuda_archs))
# No contraction, IEEE's division and roots, subnormals flushed: the arithmetic of the CPU backend.
cuda_flags := $(if $(NVCC_CCBIN),-ccbin $(NVCC_CCBIN)) -std=c++17 -O3 -fmad=false -ftz=true -prec-div=true -prec-sqrt=true -Icommon -Icuda \
              $(if $(WERROR),-Werror all-warnings -Xcompiler -Werror) \
              -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra,-Wno-missing-field-initializers

# What decides the objects' contents beside their sources: compared by content, so that other flags rebuild.
flags_now := $(CC) $(CFLAGS) $(filter-out -Werror,$(FLAGS)) CUDA $(CUDA) $(NVCC) $(NVCC_CCBIN) $(cuda_trouble)
$(BUILD)/flags: FORCE | $(after_deps)
	@mkdir -p $(@D)
	@if ! printf '%s\n' '$(flags_now)' | cmp -s - $@; then \
		printf '%s\n' '$(flags_now)' >$@; \
		$(if $(filter 1,$(SANITIZE)),touch $(BUILD)/sanitized;) \
		printf '  %-7s %s\n' CUDA '$(if $(NVCC),$(cuda_choice),$(cuda_choice): CPU only)'; \
	fi
.PHONY: FORCE
FORCE:

define isa_rule
$(BUILD)/common/%_$1.o: common/%.c $(BUILD)/flags
	$$(say) CC '$$< ($1)'
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(FLAGS) $$(isa_flags_$1) $$(kernel_flags) -DKERNEL_ISA=$1 -DKERNEL_ISA_$1 -MMD -MP -c -o $$@ $$<
$(BUILD)/fuzz/%_$1.o: common/%.c $(BUILD)/flags
	$$(say) CLANG '$$< ($1)'
	$$(Q)mkdir -p $$(@D)
	$$(Q)clang $$(fuzz_flags) $$(FLAGS) $$(isa_flags_$1) -DKERNEL_ISA=$1 -DKERNEL_ISA_$1 -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(isas) amx,$(eval $(call isa_rule,$(isa))))

$(BUILD)/common/%.o: common/%.c $(BUILD)/flags
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -MMD -MP -c -o $@ $<

# Plain loops over long arrays, which the compiler turns into vectors of whatever every x86-64 has.
$(addprefix $(BUILD)/common/,column.o ratings_records.o ratings_write.o): private CFLAGS += -O3
# Loops of some 40 vector instructions, which lose 5 % where they begin in the middle of a line of the cache.
$(BUILD)/common/kernels_score_isa_avx512.o: private kernel_flags += -falign-loops=64

$(library): $(common_objects)
	$(say) AR $@
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/bin/%: tools/%.c $(library)
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -MMD -MP -MF $(BUILD)/bin/$*.d -o $@ $< $(library) $(LIBS) $(LDLIBS)

$(BUILD)/unit/%: tests/unit/%.c $(library)
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -Itests/unit -MMD -MP -MF $(BUILD)/unit/$*.d -o $@ $< $(library) $(LIBS)

# ---- CUDA ----

all: $(cuda_object)

.PHONY: cuda test-gpu
cuda: $(cuda_object) ## the CUDA backend alone (build/lib/recpipe/recpipe_cuda.so; CUDA_ARCH="80 90")
	$(if $(NVCC),,@echo 'make: $(or $(cuda_trouble),no nvcc was found: NVCC=path names one)' >&2; exit 1)

# Sources without kernels need no code of more than one.
hosted := backend blas blocks comm failure layout plain_plan score several several_score several_train tensor
$(hosted:%=$(BUILD)/cuda/%.o): private cuda_archs = $(lastword $(filter \
	$(cuda_known:compute_%=%),$(CUDA_ARCH)))

$(BUILD)/cuda/archs: FORCE
	@mkdir -p $(@D)
	@echo '$(CUDA_ARCH)' | cmp -s - $@ || echo '$(CUDA_ARCH)' >$@

$(BUILD)/cuda/%.o: cuda/%.cu $(BUILD)/flags $(BUILD)/cuda/archs
	$(say) NVCC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(NVCC) $(cuda_flags) $(cuda_codes) -MMD -MP -MF $(BUILD)/cuda/$*.d -c -o $@ $<

# The runtime is linked in: of CUDA nothing but the driver is needed where the tools run. cuBLAS is opened at run time.
$(BUILD)/lib/recpipe/recpipe_cuda.so: $(cuda_sources:cuda/%.cu=$(BUILD)/cuda/%.o)
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(NVCC) $(if $(NVCC_CCBIN),-ccbin $(NVCC_CCBIN)) -shared -cudart static $(cuda_codes) -o $@ $^

# The same sources for the C compiler, on a device that is emulated (cuda/launch.h), for the unit tests.
emulated := $(BUILD)/librecpipe_emulated.a
# What a device has of its own; the emulated one has emulated*.c and late.c instead, and watch*.c where it is watched.
device_sources := cuda/device.cu cuda/device_time.cu cuda/blas.cu cuda/comm.cu
emulated_objects := $(patsubst cuda/%.cu,$(BUILD)/emulated/%.o,$(filter-out $(device_sources),$(cuda_sources))) \
                    $(patsubst cuda/%.c,$(BUILD)/emulated/%.o,$(filter-out cuda/watch%,$(wildcard cuda/*.c)))

# The same again, watched (cuda/watch.h): kernels are instrumented for races, by a runtime of our own.
watched := $(BUILD)/watched
watched_objects := $(emulated_objects:$(BUILD)/emulated/%=$(watched)/%) $(watched)/watch.o $(watched)/watch_memory.o
watched_tests := $(watch_sources:tests/unit/%.c=$(BUILD)/unit/%) \
                 $(patsubst tests/unit/test_cuda_%.c,$(BUILD)/unit/test_watched_%,$(wildcard tests/unit/test_cuda_*.c))
watched_flags := -DWATCHED -Icuda -Itests/unit -mfma
instrumented := -O1 -fsanitize=thread

# Fused multiply-adds by the processor: the library's cost forty times as much. As the CPU's sanitized kernels, those that
# multiply have ASan alone.
multiplying := adam exchange factors features history narrow narrow_score plain products rows segment softmax tower wide_rows \
               wide_score wide_train
$(multiplying:%=$(BUILD)/emulated/%.o): private emulated_flags = -mfma \
	$(if $(filter 1,$(SANITIZE)),-fno-sanitize=undefined)

$(BUILD)/emulated/%.o: cuda/%.cu $(BUILD)/flags
	$(say) CC '$< (emulated)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(emulated_flags) -fPIC -Icuda -MMD -MP -c -o $@ -x c $<

$(BUILD)/emulated/%.o: cuda/%.c $(BUILD)/flags
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -fPIC -Icuda -MMD -MP -c -o $@ $<

# The same as an object for the tools: RECPIPE_CUDA=build/emulated/recpipe_cuda.so train-mlp --device cuda
$(BUILD)/emulated/recpipe_cuda.so: $(emulated_objects)
	$(say) LD $@
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -shared -o $@ $^ -lm

$(emulated): $(emulated_objects)
	$(say) AR $@
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/unit/test_cuda%: tests/unit/test_cuda%.c $(library) $(emulated)
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -Itests/unit -Icuda -MMD -MP -MF $@.d -o $@ $< $(library) $(emulated) $(LIBS)

$(watched)/%.o: cuda/%.cu $(BUILD)/flags
	$(say) CC '$< (watched)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(watched_flags) $(instrumented) -MMD -MP -c -o $@ -x c $<

$(watched)/%.o: cuda/%.c $(BUILD)/flags
	$(say) CC '$< (watched)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(watched_flags) $(if $(filter emulated_blas,$*),$(instrumented)) -MMD -MP -c -o $@ $<

$(watched)/unit/%.o: tests/unit/%.c $(BUILD)/flags
	$(say) CC '$< (watched)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(watched_flags) $(if $(filter test_watch%,$*),$(instrumented)) -MMD -MP -c -o $@ $<

define watched_link
$(say) LD $@
$(Q)mkdir -p $(@D)
$(Q)$(CC) $(CFLAGS) $(FLAGS) -Wl,--wrap=memcpy -o $@ $^ $(LIBS)
endef
$(watch_sources:tests/unit/%.c=$(BUILD)/unit/%): $(BUILD)/unit/%: $(watched)/unit/%.o $(watched_objects) $(library)
	$(watched_link)
$(BUILD)/unit/test_watched_%: $(watched)/unit/test_cuda_%.o $(watched_objects) $(library)
	$(watched_link)

.SECONDARY: $(patsubst tests/unit/%.c,$(watched)/unit/%.o,$(wildcard tests/unit/test_cuda_*.c) $(watch_sources))
$(watched)/watch_memory.o: private CFLAGS += -O3
.PHONY: races
races: ## the CUDA backend's tests on a device that is emulated and watched: races, order of streams, unwritten memory
	@$(MAKE) --no-print-directory $(jobs) $(watched_tests)
	@tests/run -k '^test_watch' $(BUILD)

test-gpu: ## the CUDA backend's tests on this machine's device (REQUIRE_CUDA=1: no device is a failure)
	@$(MAKE) --no-print-directory $(jobs) all unit-tests
	@RECPIPE_TEST_DEVICE=cuda RECPIPE_CUDA=$(abspath $(BUILD))/lib/recpipe/recpipe_cuda.so \
		tests/run -k '^test_cuda' $(BUILD)

.PHONY: unit-tests
unit-tests: $(unit_tests) $(if $(filter 1,$(SANITIZE)),,$(watched_tests)) $(BUILD)/emulated/recpipe_cuda.so ## build the unit tests

-include $(wildcard $(BUILD)/cuda/*.d $(BUILD)/emulated/*.d $(watched)/*.d $(watched)/unit/*.d $(BUILD)/common/*.d $(BUILD)/bin/*.d $(BUILD)/unit/*.d $(BUILD)/bench/*.d)

# ---- packages ----

.PHONY: deps
deps: ## install what is missing of deps.txt (OPTIONAL=1: what is optional as well)
	@./deps.sh $(if $(filter 1,$(OPTIONAL)),optional)

# ---- tests ----

.PHONY: test check check-includes lint fuzz
test: | $(after_deps) ## all that CI runs: unit tests and bats, then both under ASan and UBSan (TEST=pattern)
	@$(MAKE) --no-print-directory $(jobs) BUILD=$(BUILD) all unit-tests check-includes
	@$(MAKE) --no-print-directory $(jobs) BUILD=$(BUILD)/asan SANITIZE=1 all unit-tests
	@tests/run $(if $(TEST),-k '$(TEST)') $(BUILD) $(BUILD)/asan

check: ## unit tests and bats of the plain build alone (TEST=pattern)
	@$(MAKE) --no-print-directory $(jobs) all unit-tests
	@tests/run $(if $(TEST),-k '$(TEST)') $(BUILD)

check-includes: | $(after_deps) ## who includes whom, and every header compiles alone
	@tests/check-includes $(CC) $(FLAGS) -Wno-unused-function -fsyntax-only
	$(say) CHECK includes

scripts := deps.sh pipeline.sh cuda/probe $(wildcard pipeline/*) .ci/run data/fetch tests/run tests/check-includes $(wildcard tests/*/run tests/*/*.sh tests/results/*) \
           $(addprefix tests/bench/,compare counts gpu_run gpu_table machine profile scale table)
lint: ## shellcheck, and clang-tidy where it is installed
	shellcheck -x $(wildcard $(scripts))
	shellcheck -s bash -e SC2034 $(wildcard tests/cli/*.bash)
	@if command -v clang-tidy >/dev/null; then \
		clang-tidy --quiet --checks='-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-clang-analyzer-security.insecureAPI.*,-clang-analyzer-valist.Uninitialized' \
			--warnings-as-errors='clang-analyzer-*' $(common_sources) $(tool_sources) -- $(FLAGS) -Wno-everything; \
	else \
		echo 'lint: clang-tidy is not installed, C is not linted'; \
	fi

FUZZ_SECONDS ?= 60
fuzz_sources := $(wildcard tests/fuzz/fuzz_*.c)
fuzzers := $(fuzz_sources:tests/fuzz/%.c=$(BUILD)/fuzz/%)
fuzz_flags := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
fuzz_objects := $(common_sources:common/%.c=$(BUILD)/fuzz/%.o) $(call isa_objects,$(BUILD)/fuzz)

$(BUILD)/fuzz/%.o: common/%.c $(BUILD)/flags
	$(say) CLANG $<
	$(Q)mkdir -p $(@D)
	$(Q)clang $(fuzz_flags) -fsanitize=fuzzer-no-link $(FLAGS) -MMD -MP -c -o $@ $<

$(fuzzers): $(BUILD)/fuzz/%: tests/fuzz/%.c $(fuzz_objects)
	$(say) CLANG $@
	$(Q)clang $(fuzz_flags) -fsanitize=fuzzer $(FLAGS) -o $@ $< $(fuzz_objects) $(LIBS)

fuzz: $(fuzzers) ## libFuzzer with ASan on every tests/fuzz/fuzz_*.c (FUZZ_SECONDS=60 each)
	@tests/fuzz/run '$(BUILD)/fuzz' $(FUZZ_SECONDS) $(fuzzers)

# ---- figures ----

# tests/bench/NAME.c: programs that measure pieces, beside the tools that are measured whole.
bench_sources := $(wildcard tests/bench/*.c)
bench_programs := $(bench_sources:tests/bench/%.c=$(BUILD)/bench/%)

$(BUILD)/bench/%: tests/bench/%.c $(library)
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -Itests/bench -MMD -MP -MF $(BUILD)/bench/$*.d -o $@ $< $(library) $(LIBS)

# Where there is no nvcc, the ceilings are skipped, with the reason.
gpu_ceilings := $(if $(cuda_object),$(BUILD)/bench/gpu_ceilings)
$(BUILD)/bench/gpu_ceilings: tests/bench/gpu_ceilings.cu $(BUILD)/flags $(BUILD)/cuda/archs
	$(say) NVCC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(NVCC) -std=c++17 -O3 $(if $(WERROR),-Werror all-warnings -Xcompiler -Werror) -Xcompiler -Wall,-Wextra $(cuda_codes) \
		-cudart static -o $@ $<

.PHONY: bench bench-programs bench-compare bench-counts bench-gpu bench-profile bench-scale results
bench-programs: $(bench_programs) $(gpu_ceilings)
bench: all bench-programs ## speed, beside peers and ceilings, into build/bench.tsv and .json (BENCH=pattern: a part)
	@tests/bench/run -o $(BUILD)/bench.tsv -b $(BUILD) '$(BENCH)'

bench-compare: ## this bench against an older one: OLD=old.json [NEW= TOLERANCE=0.05] (exit 1: slower)
	@tests/bench/compare $(if $(TOLERANCE),-t $(TOLERANCE)) '$(OLD)' $(if $(NEW),'$(NEW)',$(BUILD)/bench.json)

bench-counts: all bench-programs ## instructions of the kernels by callgrind, into build/counts.tsv and .json
	@tests/bench/counts -o $(BUILD)/counts.tsv -b $(BUILD) '$(BENCH)'

gpu_bench := $(addprefix $(BUILD)/bench/,gpu stopwatch) $(gpu_ceilings) $(if $(DRY),$(BUILD)/emulated/recpipe_cuda.so)
bench-gpu: all $(gpu_bench) ## speed of --device cuda into build/bench-gpu.tsv (BENCH=pattern DEVICE=cuda:1; DRY=1: emulated)
	@tests/bench/gpu_run $(if $(DRY),-n) -b $(BUILD) $(if $(filter-out auto,$(DEVICE)),-d '$(DEVICE)') '$(BENCH)'

bench-profile: all bench-programs ## where training spends its time, by function (perf; BENCH="1280 16384")
	@tests/bench/profile -b $(BUILD) $(BENCH)

bench-scale: all bench-programs ## time and peak memory of every stage over 1 to 50 million ratings (SIZES=)
	@tests/bench/scale -o $(BUILD)/scale.tsv -b $(BUILD) $(SIZES)

results: all ## quality figures of the public splits into build/results.tsv (BENCH=pattern: a part)
	@tests/results/run -o $(BUILD)/results.tsv '$(BENCH)'

# ---- man pages, completions, installation ----

man_pages := $(tools:$(BUILD)/bin/%=$(BUILD)/man/man1/%.1)
completions := $(tools:$(BUILD)/bin/%=$(BUILD)/completions/%)

$(BUILD)/man/man1/%.1: $(BUILD)/bin/%
	$(say) MAN $@
	$(Q)mkdir -p $(@D)
	$(Q)$< --man >$@

$(BUILD)/completions/%: $(BUILD)/bin/%
	$(Q)mkdir -p $(@D)
	$(Q)$< --completion >$@

.PHONY: man completions install uninstall
man: $(man_pages) ## man pages into build/man, from the tools' own option tables
completions: $(completions)

share := $(DESTDIR)$(PREFIX)/share
install: all man completions ## tools, man pages and completions under PREFIX (/usr/local; DESTDIR is honoured)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(share)/man/man1' '$(share)/bash-completion/completions'
	install -m 755 $(tools) '$(DESTDIR)$(PREFIX)/bin'
	$(if $(cuda_object),install -D -m 755 $(cuda_object) '$(DESTDIR)$(PREFIX)/lib/recpipe/$(notdir $(cuda_object))')
	install -m 644 $(man_pages) '$(share)/man/man1'
	install -m 644 $(completions) '$(share)/bash-completion/completions'

uninstall: ## remove what install put there
	rm -f $(tools:$(BUILD)/bin/%='$(DESTDIR)$(PREFIX)/bin/%')
	rm -f '$(DESTDIR)$(PREFIX)/lib/recpipe/recpipe_cuda.so'
	rm -f $(tools:$(BUILD)/bin/%='$(share)/man/man1/%.1')
	rm -f $(tools:$(BUILD)/bin/%='$(share)/bash-completion/completions/%')

# ---- the rest ----

include pipeline.mk

.PHONY: help clean
help: ## this list
	@awk 'match($$0, /^[a-z-]+:.*## /) { name = $$0; sub(/:.*/, "", name); \
		sub(/.*## /, ""); printf "  make %-15s %s\n", name, $$0 }' Makefile pipeline.mk
	@echo '  Settings of a build: CC CFLAGS WERROR=1 SANITIZE=1 CUDA=0|1 CUDA_ARCH=... NVCC=... NVCC_CCBIN=... BUILD=folder V=1'

clean: ## remove build/ (run/ and published/ stay)
	rm -rf $(BUILD)
