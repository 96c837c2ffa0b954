# The stage graph: from ratings to the table of HR@10 / NDCG@10.
#
#   make pipeline [DATA=name | RATINGS=file [MOVIES=file]] [CONF=file] [RUN=folder] [SETTING=value]...
#
# All artefacts lie in one run folder. A stage runs again when an input is newer or when a setting it uses has
# changed: each stage depends on a stamp in RUN/settings that is rewritten only when its content changes.
# Stages run through pipeline/stage, which times them and tells which one failed.

include pipeline.conf
ifneq ($(CONF),)
include $(CONF)
endif

# What `make tune` searches the settings of: train-mlp --model.
MODEL ?= mlp

# Counts must be counts: what is left of them without digits is nothing.
counts := SYNTH_USERS SYNTH_ITEMS SYNTH_RATINGS SYNTH_SEED SPLIT_SEED RATIO EPOCHS BATCH PATIENCE VALID_CANDIDATES SEED THREADS \
          CANDIDATES DRAWS EVALUATION_SEED CUTOFF RERANK_TOP TOP TRIALS
digits := 0 1 2 3 4 5 6 7 8 9
without = $(if $1,$(call without,$(wordlist 2,99,$1),$(subst $(firstword $1),,$2)),$2)
$(foreach name,$(counts),$(if $(and $($(name)),$(if $(call without,$(digits),$($(name))),,ok)),,$(error \
  $(name) is '$($(name))', expected a count (see pipeline.conf))))
ifneq ($(and $(DATA),$(RATINGS)),)
$(error DATA and RATINGS exclude each other)
endif

RUN ?= run/$(if $(DATA),$(DATA),$(if $(RATINGS),$(basename $(basename $(notdir $(RATINGS)))),embedded))
bin := $(abspath $(BUILD)/bin)
stage = @PATH='$(bin)':$$PATH pipeline/stage $(RUN)
threads := $(if $(filter-out 0,$(THREADS)),--threads $(THREADS))

# ---- what there is: ratings to be split, or parts that are given; titles; candidates that are given ----

set_ratings.ml-latest-small := ratings.csv
set_movies.ml-latest-small := movies.csv
set_ratings.ml-100k := u.data
set_movies.ml-100k := u.item
set_train.ncf-ml-1m := train.tsv.gz
set_test.ncf-ml-1m := test.tsv
set_lists.ncf-ml-1m := test.negative.gz
set_train.seed-split := train.csv
set_test.seed-split := evaluation.csv

ifneq ($(DATA),)
set := $(shell data/fetch --where $(DATA))
ratings := $(set_ratings.$(DATA):%=$(set)/%)
movies := $(set_movies.$(DATA):%=$(set)/%)
given_train := $(set_train.$(DATA):%=$(set)/%)
given_test := $(set_test.$(DATA):%=$(set)/%)
given_lists := $(set_lists.$(DATA):%=$(set)/%)
$(ratings) $(movies) $(given_train) $(given_test) $(given_lists): ; data/fetch $(DATA) >/dev/null
else ifneq ($(RATINGS),)
ratings := $(RATINGS)
movies := $(MOVIES)
else
ratings := $(RUN)/ratings.csv
movies := $(RUN)/movies.csv
endif

# Given candidates are one draw.
draws := $(if $(given_lists),1,$(shell seq $(DRAWS)))

# ---- stamps ----

# $(call stamp,NAME,SETTINGS): $(RUN)/settings/NAME holds the settings and changes only with them.
define stamp
$(RUN)/settings/$1: FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$2' | cmp -s - $$@ || printf '%s\n' '$2' >$$@
endef
train_options := --layers $(LAYERS) --ratio $(RATIO) --batch $(BATCH) --lr $(RATE) --seed $(SEED) $(TRAIN_OPTIONS)
synth_options := --users $(SYNTH_USERS) --items $(SYNTH_ITEMS) --ratings $(SYNTH_RATINGS) --seed $(SYNTH_SEED)
split_options := --split $(SPLIT) --seed $(SPLIT_SEED) $(SPLIT_OPTIONS)
$(eval $(call stamp,synth,$(synth_options)))
$(eval $(call stamp,split,$(split_options) $(ratings) $(given_train) $(given_test)))
$(eval $(call stamp,train,$(train_options) --epochs $(EPOCHS) --patience $(PATIENCE) --candidates $(VALID_CANDIDATES)))
$(eval $(call stamp,candidates,$(CANDIDATES) $(EVALUATION_SEED) $(draws) $(given_lists)))
$(eval $(call stamp,cutoff,$(CUTOFF) $(EVALUATION_SEED)))
$(eval $(call stamp,rerank,$(RERANK) top $(RERANK_TOP)))
$(eval $(call stamp,recommend,$(TOP) $(movies)))

# ---- ratings to parts ----

ifeq ($(DATA)$(RATINGS),)
$(ratings) $(movies) &: $(bin)/synth-ratings $(RUN)/settings/synth
	$(stage) synth -- synth-ratings -q $(synth_options) --movies $(RUN)/movies.csv -o $(RUN)/ratings.csv
endif

parts := $(RUN)/train.csv $(RUN)/valid.csv $(RUN)/test.csv
ifneq ($(given_train),)
# A given training part gives up one random item of each user for validation; the test part is left alone.
$(parts) &: $(given_train) $(given_test) $(bin)/csvsplit $(RUN)/settings/split
	$(stage) split -- pipeline/given-parts $(RUN) $(given_train) $(given_test) $(SPLIT_SEED)
else
$(parts) &: $(ratings) $(bin)/csvsplit $(RUN)/settings/split
	$(stage) split -- csvsplit $(split_options) --out $(RUN) --summary $(RUN)/split.json $(ratings)
endif

# The part that the final model is trained on: the validation part has done its work once the epoch is picked.
$(RUN)/fit.csv: $(parts)
	@{ cat $(RUN)/train.csv; tail -n +2 $(RUN)/valid.csv; } >$@

records := $(RUN)/train.rec $(RUN)/valid.rec $(RUN)/test.rec $(RUN)/fit.rec $(RUN)/users.ids $(RUN)/items.ids
$(records) &: $(parts) $(RUN)/fit.csv $(bin)/encode-ids
	$(stage) encode -- encode-ids --users $(RUN)/users.ids --items $(RUN)/items.ids --out $(RUN) \
		--unknown $(if $(given_train),keep,drop) $(RUN)/fit.csv $(RUN)/train.csv $(RUN)/valid.csv $(RUN)/test.csv

# ---- training: pick the epoch on the validation part, then fit everything up to the test part ----

$(RUN)/epochs: $(RUN)/train.rec $(RUN)/valid.rec $(bin)/train-mlp $(RUN)/settings/train
	$(stage) train -- pipeline/pick-epoch $(RUN) $(CHECKPOINT_MINUTES) --patience $(PATIENCE) --epochs $(EPOCHS) \
		--candidates $(VALID_CANDIDATES) \
		$(threads) $(train_options)

$(RUN)/model.safetensors: $(RUN)/epochs $(RUN)/fit.rec
	$(stage) fit -- pipeline/fit $(RUN) $(CHECKPOINT_MINUTES) $(threads) $(train_options)

# ---- evaluation: each system, on sampled candidates and on the full catalogue ----

known := --known $(RUN)/fit.rec
eval := $(RUN)/eval
$(eval):
	@mkdir -p $@

ifneq ($(given_lists),)
$(eval)/lists.1.rec: $(given_lists) $(RUN)/fit.rec $(RUN)/test.rec $(bin)/sample-neg $(RUN)/settings/candidates | $(eval)
	$(stage) candidates -- sample-neg $(known) --given $(given_lists) --users $(RUN)/users.ids \
		--items $(RUN)/items.ids -o $@ $(RUN)/test.rec
else
$(draws:%=$(eval)/lists.%.rec): $(eval)/lists.%.rec: $(RUN)/fit.rec $(RUN)/test.rec $(bin)/sample-neg \
		$(RUN)/settings/candidates | $(eval)
	$(stage) candidates.$* -- sample-neg -q $(known) --candidates $(CANDIDATES) --seed $(EVALUATION_SEED) --draw $* \
		-o $@ $(RUN)/test.rec
endif

systems := model popularity random
how.model := --model $(RUN)/model.safetensors $(threads)
how.popularity := --by popularity
how.random := --by random
needs.model := $(RUN)/model.safetensors

# $(call score,SYSTEM): its lists, for each draw and for the full catalogue (cut where re-ranking cannot reach).
define score
$(draws:%=$(eval)/$1.%.rec): $(eval)/$1.%.rec: $(eval)/lists.%.rec $(needs.$1) $(bin)/score
	$$(stage) score.$1.$$* -- score $(how.$1) -o $$@ $$<
$(eval)/$1.full.rec: $(RUN)/fit.rec $(RUN)/test.rec $(needs.$1) $(bin)/score $(RUN)/settings/rerank | $(eval)
	$$(stage) score.$1.full -- score -q $(how.$1) --all-items --top $(RERANK_TOP) $(known) \
		--truth $(RUN)/test.rec -o $$@
endef
$(foreach system,$(systems),$(eval $(call score,$(system))))

rerank_needs := $(bin)/rerank $(RUN)/settings/rerank
rankings := $(draws) full
$(rankings:%=$(eval)/reranked.%.rec): $(eval)/reranked.%.rec: $(eval)/model.%.rec $(rerank_needs)
	$(stage) rerank.$* -- rerank $(RERANK) -o $@ $<

tables := $(foreach system,$(systems) reranked,$(rankings:%=$(eval)/$(system).%.tsv))
$(tables): %.tsv: %.rec $(bin)/metrics $(RUN)/settings/cutoff
	$(stage) metrics.$(notdir $*) -- metrics --cutoffs $(CUTOFF) --seed $(EVALUATION_SEED) -o $@ $<

# ---- recommendations: what nobody has seen yet, to everybody ----

$(RUN)/top.rec: $(RUN)/model.safetensors $(RUN)/fit.rec $(RUN)/test.rec $(rerank_needs) $(bin)/score \
		$(RUN)/settings/recommend
	$(stage) recommend.score -- pipeline/top-lists $(RUN) $(RERANK_TOP) $(TOP) '$(threads)' $(RERANK)

lists := $(RUN)/recommendations.csv $(RUN)/recommendations.jsonl
$(lists): $(RUN)/recommendations.%: $(RUN)/top.rec $(movies) $(bin)/recommend
	$(stage) recommend.$* -- recommend --users $(RUN)/users.ids --items $(RUN)/items.ids \
		$(movies:%=--movies %) --top $(TOP) --format $* -o $@ $(RUN)/top.rec

# ---- the report ----

$(RUN)/report.tsv: $(tables) $(lists) pipeline/report
	$(stage) report -- pipeline/report $(RUN) $(words $(draws)) $(CUTOFF)

# ---- tuning ----

.PHONY: tune
tune: all ## search for a model's settings on the validation part (MODEL= DATA= TRIALS= SEED= GRID=file)
	@$(MAKE) --no-print-directory $(jobs) $(RUN)/train.rec
	@PATH='$(bin)':$$PATH pipeline/tune $(GRID:%=-g %) -j $(THREADS) $(RUN) $(MODEL) $(TRIALS) $(SEED) \
		--candidates $(VALID_CANDIDATES) $(TRAIN_OPTIONS)

.PHONY: pipeline print-run
pipeline: all ## ratings to recommendations and the table of HR@10 / NDCG@10 (DATA= RATINGS= CONF= SETTING=)
	@$(MAKE) --no-print-directory $(jobs) $(RUN)/report.tsv
	@cat $(RUN)/report.txt

print-run:
	@echo $(RUN)
