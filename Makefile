# recpipe: build, test, install, and the pipeline from raw ratings to HR@10 / NDCG@10.
# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

BUILD ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
V ?= 0
ifeq ($(V),1)
say = @:
Q :=
else
say = @printf '  %-7s %s\n'
Q := @
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wmissing-prototypes -Wstrict-prototypes \
            -Wvla -Wformat=2 -Wundef
WERROR ?=
# No contraction and no fast maths: the same source must give the same bits with every instruction set.
FLAGS := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Icommon $(WARNINGS) $(if $(WERROR),-Werror) \
         -ffp-contract=off -fno-strict-overflow -pthread
LIBS := -ljansson -lxxhash -lz -ldl -lm -pthread
ifeq ($(SANITIZE),1)
FLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

library := $(BUILD)/librecpipe.a
common_sources := $(filter-out common/kernels.c,$(wildcard common/*.c))
tool_sources := $(wildcard tools/*.c)
unit_sources := $(wildcard tests/unit/test_*.c)
tools := $(tool_sources:tools/%.c=$(BUILD)/bin/%)
unit_tests := $(unit_sources:tests/unit/%.c=$(BUILD)/unit/%)

# One kernel source, compiled once for each instruction set and chosen at start (common/kernels.h).
isas := avx512 avx2 portable
isa_flags_avx512 := -O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mbmi2 -mprefer-vector-width=512
isa_flags_avx2 := -O3 -mavx2 -mfma -mbmi2
isa_flags_portable := -O3
kernel_objects := $(isas:%=$(BUILD)/common/kernels_%.o)
common_objects := $(common_sources:common/%.c=$(BUILD)/common/%.o) $(kernel_objects)

.PHONY: all
all: $(tools)

$(BUILD)/common/kernels_%.o: common/kernels.c
	$(say) CC '$< ($*)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(isa_flags_$*) -DKERNEL_ISA=$* -DKERNEL_ISA_$* -MMD -MP -c -o $@ $<

$(BUILD)/common/%.o: common/%.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(FLAGS) -MMD -MP -c -o $@ $<

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

.PHONY: unit-tests
unit-tests: $(unit_tests)

-include $(wildcard $(BUILD)/common/*.d $(BUILD)/bin/*.d $(BUILD)/unit/*.d)

.PHONY: clean
clean:
	rm -rf $(BUILD)
