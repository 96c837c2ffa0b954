# The stage graph: from ratings to the table of HR@10 / NDCG@10.
#
#   make pipeline [DATA=name | RATINGS=file [MOVIES=file [GENRES=file]]] [CONF=file] [RUN=folder] [SETTING=value]...
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
counts := SYNTH_USERS SYNTH_ITEMS SYNTH_RATINGS SYNTH_SEED SPLIT_SEED RATIO EPOCHS BATCH PATIENCE SAMPLES VALID_CANDIDATES SEED THREADS \
          BLEND_CANDIDATES CANDIDATES DRAWS EVALUATION_SEED CUTOFF FULL_TOP RERANK_TOP TOP TRIALS
digits := 0 1 2 3 4 5 6 7 8 9
without = $(if $1,$(call without,$(wordlist 2,99,$1),$(subst $(firstword $1),,$2)),$2)
$(foreach name,$(counts),$(if $(and $($(name)),$(if $(call without,$(digits),$($(name))),,ok)),,$(error \
  $(name) is '$($(name))', expected a count (see pipeline.conf))))
ifneq ($(and $(DATA),$(RATINGS)),)
$(error DATA and RATINGS exclude each other)
endif
ifeq ($(strip $(MODELS)),)
$(error MODELS is empty, expected the base model and any others (see pipeline.conf))
endif

RUN ?= run/$(if $(DATA),$(DATA),$(if $(RATINGS),$(basename $(basename $(notdir $(RATINGS)))),embedded))
bin := $(abspath $(BUILD)/bin)
stage = @PATH='$(bin)':$$PATH pipeline/stage $(RUN)
threaded_stage = @PATH='$(bin)':$$PATH pipeline/stage -x $(RUN)
threads := $(if $(filter-out 0,$(THREADS)),--threads $(THREADS))

# ---- what there is: ratings to be split, or parts that are given; titles; candidates that are given ----

set_ratings.ml-latest-small := ratings.csv
set_movies.ml-latest-small := movies.csv
set_ratings.ml-100k := u.data
set_movies.ml-100k := u.item
set_genres.ml-100k := u.genre
set_train.ncf-ml-1m := train.tsv.gz
set_test.ncf-ml-1m := test.tsv
set_lists.ncf-ml-1m := test.negative.gz
set_train.seed-split := train.csv
set_test.seed-split := evaluation.csv
# Sets without titles whose items are another set's.
set_titles.seed-split := ml-latest-small

ifneq ($(DATA),)
set := $(shell data/fetch --where $(DATA))
ratings := $(set_ratings.$(DATA):%=$(set)/%)
movies := $(set_movies.$(DATA):%=$(set)/%)
genres := $(set_genres.$(DATA):%=$(set)/%)
given_train := $(set_train.$(DATA):%=$(set)/%)
given_test := $(set_test.$(DATA):%=$(set)/%)
given_lists := $(set_lists.$(DATA):%=$(set)/%)
$(ratings) $(movies) $(genres) $(given_train) $(given_test) $(given_lists): ; data/fetch $(DATA) >/dev/null
titles := $(set_titles.$(DATA))
ifneq ($(titles),)
movies := $(wildcard $(shell data/fetch --where $(titles))/$(set_movies.$(titles)))
endif
else ifneq ($(RATINGS),)
ratings := $(RATINGS)
movies := $(MOVIES)
genres := $(GENRES)
else
ratings := $(RUN)/ratings.csv
movies := $(RUN)/movies.csv
endif
catalogue := $(movies:%=--items $(RUN)/items.ids --movies %) $(genres:%=--genres %)

# Given candidates are one draw.
draws := $(if $(given_lists),1,$(shell seq $(DRAWS)))

# ---- stamps ----

# $(call stamp,NAME,SETTINGS): $(RUN)/settings/NAME holds the settings and changes only with them.
define stamp
$(RUN)/settings/$1: FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$2' | cmp -s - $$@ || printf '%s\n' '$2' >$$@
endef
synth_options := --users $(SYNTH_USERS) --items $(SYNTH_ITEMS) --ratings $(SYNTH_RATINGS) --seed $(SYNTH_SEED)
split_options := --split $(SPLIT) --seed $(SPLIT_SEED) $(SPLIT_OPTIONS)
$(eval $(call stamp,synth,$(synth_options)))
$(eval $(call stamp,split,$(split_options) $(ratings) $(given_train) $(given_test)))
$(eval $(call stamp,candidates,$(CANDIDATES) $(EVALUATION_SEED) $(draws) $(given_lists)))
$(eval $(call stamp,full,$(FULL_TOP)))
$(eval $(call stamp,cutoff,$(CUTOFF) $(EVALUATION_SEED)))
$(eval $(call stamp,rerank,$(RERANK) top $(RERANK_TOP)))
$(eval $(call stamp,blend,$(BLEND_CANDIDATES) $(EVALUATION_SEED) $(BLEND_OPTIONS) $(MODELS) $(SIMILARITIES) $(movies) $(genres)))
$(eval $(call stamp,recommend,$(TOP) $(movies)))
$(eval $(call stamp,report,$(draws) $(CUTOFF) $(MODELS) $(SIMILARITIES) $(titles) $(movies)))

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

# The part that the final models are trained on: the validation part has done its work once epochs are picked and
# the blend is fitted.
$(RUN)/fit.csv: $(parts)
	@{ cat $(RUN)/train.csv; tail -n +2 $(RUN)/valid.csv; } >$@

records := $(RUN)/train.rec $(RUN)/valid.rec $(RUN)/test.rec $(RUN)/fit.rec $(RUN)/users.ids $(RUN)/items.ids
$(records) &: $(parts) $(RUN)/fit.csv $(bin)/encode-ids
	$(stage) encode -- encode-ids --users $(RUN)/users.ids --items $(RUN)/items.ids --out $(RUN) \
		--unknown $(if $(given_train),keep,drop) $(RUN)/fit.csv $(RUN)/train.csv $(RUN)/valid.csv $(RUN)/test.csv

# ---- first stage: each model and each table of weights, of the training part and of everything up to the test part ----

models := $(RUN)/models
eval := $(RUN)/eval
$(models) $(eval):
	@mkdir -p $@

mlp_options := --layers $(LAYERS) --ratio $(RATIO) --batch $(BATCH) --lr $(RATE) $(TRAIN_OPTIONS)
base := $(firstword $(MODELS))
others := $(filter-out $(base),$(MODELS))
closure = $(if $(filter-out $1,$(foreach m,$1,$(FROM_$m))),$(call closure,$(sort $1 $(foreach m,$1,$(FROM_$m)))),$1)
trained := $(call closure,$(MODELS))
ifneq ($(filter $(trained),$(SIMILARITIES))$(filter reranked popularity random,$(trained) $(SIMILARITIES)),)
$(error MODELS and SIMILARITIES need names of their own, none of reranked, popularity and random)
endif
kind = $(or $(KIND_$1),$1)
train_options = $(strip --model $(call kind,$1) --seed $(SEED) $(if $(filter mlp,$(call kind,$1)),$(mlp_options)) $(OPTIONS_$1))

# Sweeps of ials are the CPU's alone.
device = $(if $(filter ials,$(call kind,$1)),cpu,$(DEVICE))

# Sweeps of ials forget where they began: it is always fitted anew.
mlp_most = $(if $(filter mlp,$(call kind,$1)),$(EPOCHS) $(RATIO) $(SAMPLES))
refit = $(if $(filter ials,$(call kind,$1)),1,$(REFIT))

# $(call model,NAME): the epoch is picked on the validation part, then everything up to the test part is fitted.
define model
$(call stamp,model.$1,$(call train_options,$1) from $(FROM_$1) --patience $(PATIENCE) --candidates $(VALID_CANDIDATES) \
	most $(call mlp_most,$1) refit $(REFIT) device $(call device,$1))
$(models)/$1.epochs $(models)/$1.valid.safetensors &: $(RUN)/train.rec $(RUN)/valid.rec $(FROM_$1:%=$(models)/%.epochs) \
		$(bin)/train-mlp $(RUN)/settings/model.$1 | $(models)
	$$(threaded_stage) train.$1 -- pipeline/train $(RUN) $1 '$(FROM_$1)' '$(call mlp_most,$1)' $(CHECKPOINT_MINUTES) \
		--patience $(PATIENCE) --candidates $(VALID_CANDIDATES) --device $(call device,$1) $(threads) $(call train_options,$1)
$(models)/$1.safetensors: $(models)/$1.epochs $(models)/$1.valid.safetensors $(RUN)/fit.rec $(FROM_$1:%=$(models)/%.safetensors)
	$$(threaded_stage) fit.$1 -- pipeline/fit $(RUN) $1 '$(FROM_$1)' $(call refit,$1) $(CHECKPOINT_MINUTES) \
		--device $(call device,$1) $(threads) $(call train_options,$1)
endef
$(foreach name,$(trained),$(eval $(call model,$(name))))

$(RUN)/model.safetensors: $(models)/$(base).safetensors
	@cp $< $@.new && mv $@.new $@

define similarity
$(call stamp,weights.$1,$(OPTIONS_$1))
$(models)/$1.valid.rec: $(RUN)/train.rec $(bin)/item-sim $(RUN)/settings/weights.$1 | $(models)
	$$(threaded_stage) train.$1 -- pipeline/weights $$< $$@ $(threads) $(OPTIONS_$1)
$(models)/$1.rec: $(RUN)/fit.rec $(bin)/item-sim $(RUN)/settings/weights.$1 | $(models)
	$$(threaded_stage) fit.$1 -- pipeline/weights $$< $$@ $(threads) $(OPTIONS_$1)
endef
$(foreach name,$(SIMILARITIES),$(eval $(call similarity,$(name))))

# ---- evaluation: each system, on sampled candidates and on the full catalogue ----

known := --known $(RUN)/fit.rec

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

systems := $(MODELS) $(SIMILARITIES) popularity random
history = $(if $(filter history,$(call kind,$1)),--history $2)
needs.popularity :=
needs.random :=
$(foreach m,$(MODELS),$(eval needs.$m := $(models)/$m.safetensors))
$(foreach m,$(SIMILARITIES),$(eval needs.$m := $(models)/$m.rec))
how = $(if $(filter $(MODELS),$1),--model $(needs.$1) $(call history,$1,$(RUN)/fit.rec) --device $(DEVICE) $(threads),$(if \
      $(filter $(SIMILARITIES),$1),--similarity $(needs.$1) --history $(RUN)/fit.rec $(threads),--by $1))
# Weights that the data cannot give are an empty file; so is all that would be made of them.
unless_empty = $(if $(filter $(SIMILARITIES),$1),-i $2)

# $(call score,SYSTEM): its lists, for each draw and for the full catalogue, and what they are worth.
define score
$(draws:%=$(eval)/$1.%.rec): $(eval)/$1.%.rec: $(eval)/lists.%.rec $(needs.$1) $(bin)/score
	$$(threaded_stage) score.$1.$$* $(call unless_empty,$1,$(needs.$1)) -- score $(call how,$1) -o $$@ $$<
$(eval)/$1.full.rec: $(RUN)/fit.rec $(RUN)/test.rec $(needs.$1) $(bin)/score $(RUN)/settings/full | $(eval)
	$$(threaded_stage) score.$1.full $(call unless_empty,$1,$(needs.$1)) -- score -q $(call how,$1) --all-items \
		--top $(FULL_TOP) $(known) --truth $(RUN)/test.rec -o $$@
endef
$(foreach system,$(systems),$(eval $(call score,$(system))))

rankings := $(draws) full

# ---- second stage: the blend is fitted on the validation part, as the models of the training part see it ----

blended := $(findstring blend,$(RERANK))
valid := $(RUN)/valid
$(valid):
	@mkdir -p $@
$(valid)/lists.rec: $(RUN)/train.rec $(RUN)/valid.rec $(bin)/sample-neg $(RUN)/settings/blend | $(valid)
	$(stage) blend.candidates -- sample-neg -q --known $(RUN)/train.rec --candidates $(BLEND_CANDIDATES) \
		--seed $(EVALUATION_SEED) -o $@ $(RUN)/valid.rec
define score_valid
$(valid)/$1.rec: $(valid)/lists.rec $(models)/$1.valid.safetensors $(bin)/score
	$$(threaded_stage) blend.score.$1 -- score --model $(models)/$1.valid.safetensors $(call history,$1,$(RUN)/train.rec) \
		--device $(DEVICE) $(threads) -o $$@ $$<
endef
$(foreach name,$(MODELS),$(eval $(call score_valid,$(name))))

weights := $(foreach s,$(SIMILARITIES),--similarity $s=$(models)/$s.rec)
valid_weights := $(foreach s,$(SIMILARITIES),--similarity $s=$(models)/$s.valid.rec)
# $(call with,LISTS): what the other models say of the same candidates; % in LISTS is the model's name.
with = $(foreach m,$(others),--with $m=$(subst %,$m,$1))
$(RUN)/blend.json: $(MODELS:%=$(valid)/%.rec) $(SIMILARITIES:%=$(models)/%.valid.rec) $(movies) $(genres) $(bin)/rerank \
		$(RUN)/settings/blend
	$(threaded_stage) blend.fit -- pipeline/rerank --fit $@ $(call with,$(valid)/%.rec) $(valid_weights) --known $(RUN)/train.rec \
		$(catalogue) $(threads) $(BLEND_OPTIONS) $(valid)/$(base).rec

# All that the re-ranking of any lists takes beside --with and --known.
rerank_options := $(if $(blended),--blend $(RUN)/blend.json $(weights) $(threads)) $(catalogue) $(RERANK)
rerank_needs := $(bin)/rerank $(RUN)/settings/rerank $(RUN)/fit.rec $(movies) $(genres) $(if $(blended),$(RUN)/blend.json \
                $(SIMILARITIES:%=$(models)/%.rec))
define rerank
$(eval)/reranked.$1.rec: $(eval)/$(base).$1.rec $(if $(blended),$(others:%=$(eval)/%.$1.rec)) $(rerank_needs)
	$$(threaded_stage) rerank.$1 -- pipeline/rerank $(if $(blended),$(call with,$(eval)/%.$1.rec)) $(known) $(rerank_options) \
		-o $$@ $$<
endef
$(foreach draw,$(draws),$(eval $(call rerank,$(draw))))

# Rankings of the whole catalogue reach deeper than what is kept of them; the other models score the base's lists.
top_needs := $(if $(blended),$(MODELS:%=$(models)/%.safetensors),$(models)/$(base).safetensors) $(RUN)/test.rec \
             $(rerank_needs) $(bin)/score pipeline/top-lists
semicolon := ;
others_how := $(if $(blended),$(foreach m,$(others),$m $(call how,$m)$(semicolon)))
$(eval)/reranked.full.rec: $(top_needs) $(RUN)/settings/full | $(eval)
	$(threaded_stage) rerank.full -- pipeline/top-lists $@ $(RERANK_TOP) $(FULL_TOP) \
		'$(call how,$(base)) $(known) --truth $(RUN)/test.rec' '$(others_how)' $(known) $(rerank_options)

# ---- what all the lists are worth ----

tables := $(foreach system,$(systems) reranked,$(rankings:%=$(eval)/$(system).%.tsv))
$(tables): %.tsv: %.rec $(bin)/metrics $(RUN)/settings/cutoff
	$(stage) metrics.$(notdir $*) -i $< -- metrics --cutoffs $(CUTOFF) --seed $(EVALUATION_SEED) -o $@ $<

# $(call against,SYSTEM): the paired test of the re-ranked lists against its.
define against
$(rankings:%=$(eval)/reranked-$1.%.tsv): $(eval)/reranked-$1.%.tsv: $(eval)/$1.%.rec $(eval)/reranked.%.rec \
		$(bin)/metrics $(RUN)/settings/cutoff
	$$(stage) compare.$1.$$* -i $$< -- metrics -q --compare -m HR -m NDCG --cutoffs $(CUTOFF) --seed $(EVALUATION_SEED) \
		-o $$@ $$< $(eval)/reranked.$$*.rec
endef
rivals := $(MODELS) $(SIMILARITIES)
$(foreach system,$(rivals),$(eval $(call against,$(system))))
tests := $(foreach system,$(rivals),$(rankings:%=$(eval)/reranked-$(system).%.tsv))

# ---- recommendations: what nobody has seen yet, to everybody ----

seen := $(known) --known $(RUN)/test.rec
$(RUN)/top.rec: $(top_needs) $(RUN)/settings/recommend
	$(threaded_stage) recommend.score -- pipeline/top-lists $@ $(RERANK_TOP) $(TOP) '$(call how,$(base)) $(seen)' '$(others_how)' \
		$(seen) $(rerank_options)

lists := $(RUN)/recommendations.csv $(RUN)/recommendations.jsonl
$(lists): $(RUN)/recommendations.%: $(RUN)/top.rec $(movies) $(bin)/recommend
	$(stage) recommend.$* -- recommend --users $(RUN)/users.ids --items $(RUN)/items.ids \
		$(movies:%=--movies %) $(genres:%=--genres %) --top $(TOP) --format $* -o $@ $(RUN)/top.rec

# ---- the report ----

untitled := $(if $(titles),$(if $(movies),,no $(titles) at hand (data/fetch $(titles)): nothing is known of titles and genres))
$(RUN)/report.tsv: $(tables) $(tests) $(lists) $(RUN)/model.safetensors pipeline/report $(RUN)/settings/report
	$(stage) report -- pipeline/report $(RUN) $(words $(draws)) $(CUTOFF) '$(MODELS)' '$(SIMILARITIES)' '$(untitled)'

# ---- tuning ----

.PHONY: tune
tune: $(tools) ## search for a model's settings on the validation part (MODEL= DATA= TRIALS= SEED= GRID=file)
	@$(MAKE) --no-print-directory $(jobs) $(RUN)/train.rec
	@PATH='$(bin)':$$PATH pipeline/tune $(GRID:%=-g %) -j $(THREADS) $(RUN) $(MODEL) $(TRIALS) $(SEED) \
		--candidates $(VALID_CANDIDATES) $(addprefix --device ,$(filter-out auto,$(call device,$(MODEL)))) $(TRAIN_OPTIONS)

.PHONY: pipeline print-run print-served
# The tools alone: nothing here goes by the CUDA backend, which takes longer to compile than all of them.
pipeline: $(tools) ## ratings to recommendations and the table of HR@10 / NDCG@10 (DATA= RATINGS= CONF= SETTING=)
	@$(MAKE) --no-print-directory $(jobs) $(RUN)/report.tsv
	@cat $(RUN)/report.txt

print-run:
	@echo $(RUN)

# What it takes to serve users, and what they are served: published by pipeline.sh.
served := model.safetensors users.ids items.ids recommendations.csv recommendations.jsonl $(if $(blended),blend.json fit.rec \
          $(others:%=models/%.safetensors) $(SIMILARITIES:%=models/%.rec))
print-served:
	@echo $(served)
