#!/usr/bin/env bats
# The models beside the tower, from training to lists: the same bytes however they are run, warm starts, users that a
# model was never trained on, items that nobody interacted with; every refusal.
# shellcheck disable=SC2154  # $stderr is set by run
load helpers

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return 1
	synth-ratings -q --users 90 --items 120 --ratings 4000 --seed 3 --movies movies.csv -o ratings.csv
	csvsplit -q ratings.csv
	encode-ids -q --users users.ids --items items.ids train.csv valid.csv test.csv
	sample-neg -q --candidates 50 --known train.rec --known valid.rec -o lists.rec test.rec
}

setup() {
	fresh
	F=$BATS_FILE_TMPDIR
	small=(--quiet --factors 12 --epochs 3 --valid "$F/valid.rec")
	kinds=(gmf neumf mf history ials)
}

loss_of() { awk -F '\t' 'END { print $2 }' "$1"; }
figure() { awk -F '\t' -v m="$1" '$1 == m { print $2; exit }'; }

# score_with MODEL LISTS OUT: histories for those who want them.
score_with() {
	local history=()
	[ "$1" != history ] || history=(--history "$F/train.rec")
	score -q -m "$1" "${history[@]}" -o "$3" "$2"
}

@test "every model and loss trains, is written, verified and scored; the loss falls" {
	for kind in "${kinds[@]}"; do
		losses=(bce bpr sampled-softmax softmax)
		case $kind in
		history) losses=(softmax) ;;
		ials) losses=(squares) ;;
		gmf | neumf) losses=(bce bpr sampled-softmax) ;;
		esac
		for loss in "${losses[@]}"; do
			train-mlp "${small[@]}" --layers 16-8-1 --model "$kind" --loss "$loss" --lr 0.02 --log log \
				-o "$kind" "$F/train.rec"
			recdump --verify "$kind"
			awk -F '\t' 'NR == 2 { first = $2 } END { exit !($2 < first) }' log
			score_with "$kind" "$F/lists.rec" out.rec
			recdump --verify out.rec
		done
	done
	train-mlp "${small[@]}" --layers 16-8-1 --loss bpr -o mlp "$F/train.rec"
	train-mlp "${small[@]}" --layers 16-8-1 --loss sampled-softmax --alpha 0.5 -o mlp "$F/train.rec"
}

@test "any number of threads and every instruction set: the same models and lists" {
	for kind in "${kinds[@]}"; do
		train-mlp "${small[@]}" --model "$kind" --threads 1 -o "$kind" "$F/train.rec"
		score_with "$kind" "$F/lists.rec" first.rec
		for how in "--threads 3" "--isa avx2" "--isa portable"; do
			# shellcheck disable=SC2086  # two words
			if train-mlp "${small[@]}" --model "$kind" $how -o again "$F/train.rec" 2>no; then
				same "$kind" again
			else
				grep -q "this processor has no" no
			fi
		done
		RECPIPE_ISA=portable score_with "$kind" "$F/lists.rec" second.rec
		same first.rec second.rec
	done
}

@test "an item's score is the same in a list of many candidates, of few, and in the ranking of all items" {
	pairs() { recdump "$1" | awk -F '\t' '!/^#/ && $1 != "user" { print $1, $3, $4 }' | sort; }
	sample-neg -q --candidates 5 --known "$F/train.rec" -o few.rec "$F/test.rec"
	for kind in gmf mf ials; do
		train-mlp "${small[@]}" --model "$kind" -o "$kind" "$F/train.rec"
		score -q -m "$kind" -a -n 200 -o all.rec
		pairs all.rec >all
		for lists in "$F/lists.rec" few.rec; do
			score -q -m "$kind" -o some.rec "$lists"
			pairs some.rec >some
			[ "$(wc -l <some)" -gt 100 ]
			[ -z "$(comm -23 some all)" ]
		done
	done
}

@test "products of bfloat16: a model and scores of their own, the same on every instruction set" {
	train-mlp "${small[@]}" --model neumf --layers 40-20-8-1 -o full "$F/train.rec"
	train-mlp "${small[@]}" --model neumf --layers 40-20-8-1 --precision bf16 -o half "$F/train.rec"
	run ! cmp -s full half
	recdump --verify half
	score -q -m full --precision bf16 -o half.rec "$F/lists.rec"
	score -q -m full -o full.rec "$F/lists.rec"
	run ! cmp -s full.rec half.rec
	[ "$(metrics -k 10 -m AUC full.rec | figure AUC | cut -c 1-4)" = "$(metrics -k 10 -m AUC half.rec | figure AUC | cut -c 1-4)" ]
	for how in "--threads 3" "--isa avx512" "--isa avx2" "--isa portable"; do
		# shellcheck disable=SC2086  # two words
		if train-mlp "${small[@]}" --model neumf --layers 40-20-8-1 --precision bf16 $how -o again "$F/train.rec" 2>no; then
			same half again
			score -q -m full --precision bf16 $how -o again.rec "$F/lists.rec"
			same half.rec again.rec
		else
			grep "no ${how#--isa }" no
		fi
	done
}

@test "out of a pipe of samples: the same model as from the file" {
	for kind in mf neumf gmf; do
		train-mlp "${small[@]}" --loss bpr --model "$kind" --layers 16-8-1 -o file "$F/train.rec"
		sample-neg -q --ratio 4 --epochs 3 "$F/train.rec" |
			train-mlp --quiet --factors 12 --valid "$F/valid.rec" --loss bpr --model "$kind" --layers 16-8-1 -o pipe -
		same file pipe
	done
}

@test "resumed from a checkpoint: the same bytes" {
	for kind in "${kinds[@]}"; do
		whole=(--quiet --factors 12 --valid "$F/valid.rec" --model "$kind" --layers 16-8-1 --patience 0)
		train-mlp "${whole[@]}" --epochs 4 -o whole "$F/train.rec"
		rm -f state
		train-mlp "${whole[@]}" --epochs 4 --checkpoint state --checkpoint-batches 2 -o part "$F/train.rec"
		same whole part
		train-mlp "${whole[@]}" --epochs 4 --checkpoint state --resume -o again "$F/train.rec"
		same whole again
		recdump --verify state
	done
}

@test "a history model serves users that it was never trained on, by what they interacted with" {
	train-mlp "${small[@]}" --model history -o history "$F/train.rec"
	# The first user's items under a name that is new, in maps that grew.
	user=$(sed -n 2p "$F/train.csv" | cut -d , -f 1)
	head -1 "$F/train.csv" >strangers.csv
	awk -F , -v user="$user" 'NR > 1 && $1 == user { print "stranger," $2 "," $3 "," $4 }' "$F/train.csv" >>strangers.csv
	cp "$F/users.ids" "$F/items.ids" .
	encode-ids -q --users users.ids --items items.ids --update strangers.csv
	score -q -m history --history strangers.rec --all-items --known strangers.rec --top 5 \
		--users users.ids --user stranger -o stranger.rec
	score -q -m history --history "$F/train.rec" --all-items --known "$F/train.rec" --top 5 \
		--users "$F/users.ids" --user "$user" -o known.rec
	rows() { recdump "$1" | grep -v '^#' | tail -n +2 | cut -f 2-4; }
	[ -n "$(rows known.rec)" ]
	[ "$(rows stranger.rec)" = "$(rows known.rec)" ]
	train-mlp "${small[@]}" --model ials -o ials "$F/train.rec"
	score -q -m ials --history strangers.rec --all-items --known strangers.rec --top 5 \
		--users users.ids --user stranger -o stranger.rec
	score -q -m ials --all-items --known "$F/train.rec" --top 5 --users "$F/users.ids" --user "$user" -o known.rec
	# A trained user's vector is older by half a sweep: most of the list is the same.
	[ "$(comm -12 <(rows stranger.rec | cut -f 2 | sort) <(rows known.rec | cut -f 2 | sort) | wc -l)" -ge 4 ]
	train-mlp "${small[@]}" --model history --user-part -o own "$F/train.rec"
	expect 0 score -q -m own --history strangers.rec --all-items --known strangers.rec -o grown.rec
	printf 'userId,movieId\n' | cat - <(tail -n +2 strangers.csv | cut -d , -f 1,2) >others.csv
	encode-ids -q --users others.ids --items others.items others.csv
	fails 65 "different items" score -q -m history --history others.rec --all-items -o no.rec
}

@test "features rank items that nobody interacted with" {
	# The first item of the map (dense id 0) loses all its interactions.
	item=$(sed -n 2p "$F/train.csv" | cut -d , -f 2)
	awk -F , -v item="$item" 'NR == 1 || $2 != item' "$F/train.csv" >cold.csv
	cp "$F/users.ids" "$F/items.ids" .
	encode-ids -q --users users.ids --items items.ids --frozen cold.csv
	train-mlp --quiet --factors 12 --epochs 15 --model history -o plain cold.rec
	train-mlp --quiet --factors 12 --epochs 15 --model history --movies "$F/movies.csv" --items items.ids -o featured cold.rec
	recdump --verify featured
	place_of() { # MODEL: the mean place of the cold item
		score -q -m "$1" --history cold.rec --all-items --known cold.rec --top 120 | recdump - |
			awk -F '\t' '$3 == "0" { sum += $2; n++ } END { print int(sum / n) }'
	}
	plain=$(place_of plain) featured=$(place_of featured)
	echo "plain $plain, featured $featured"
	[ "$featured" -lt "$plain" ]
	fails 64 "needs --items" train-mlp --model history --movies "$F/movies.csv" -o no cold.rec
	fails 64 "is for --model history" train-mlp --model mf --movies "$F/movies.csv" --items items.ids -o no cold.rec
	fails 66 "" train-mlp --model history --movies none.csv --items items.ids -o no cold.rec
}

@test "an mlp whose embeddings begin with the factors of another model ranks better" {
	train-mlp --quiet --model ials --factors 8 --epochs 4 -o ials "$F/train.rec"
	some=(--quiet --layers 16-32-8-1 --lr 0.005 --epochs 8 --valid "$F/valid.rec" --candidates 50)
	train-mlp "${some[@]}" --log cold.log -o cold "$F/train.rec"
	train-mlp "${some[@]}" --init-from ials --log warm.log -o warm "$F/train.rec"
	best_of() { awk -F '\t' 'NR > 1 && $4 > best { best = $4 } END { print best }' "$1"; }
	awk -v cold="$(best_of cold.log)" -v warm="$(best_of warm.log)" 'BEGIN { print cold, warm; exit !(warm > cold + 0.03) }'
	fails 65 "8 factors, expected 4" train-mlp --quiet --layers 8-4-1 --init-from ials -o no "$F/train.rec"
}

@test "a neumf begins as the mean of its parts" {
	parts=(--quiet --factors 12 --layers 16-8-1 --epochs 2 --average 0)
	train-mlp "${parts[@]}" -o mlp "$F/train.rec"
	train-mlp "${parts[@]}" --model gmf -o gmf "$F/train.rec"
	train-mlp "${parts[@]}" --epochs 1 --lr 1e-12 --weight-decay 0 --model neumf --init-from mlp --init-from gmf -o neumf \
		"$F/train.rec"
	table_of() {
		score -q -m "$1" "$F/lists.rec" | recdump - | grep -v '^#' | tail -n +2 | cut -f 1,3,4 | sort -k 1,1n -k 2,2n >"$1.tsv"
	}
	for model in mlp gmf neumf; do table_of $model; done
	paste mlp.tsv gmf.tsv neumf.tsv | awk '{ d = ($3 + $6) / 2 - $9; if (d > 1e-4 || d < -1e-4) { print; exit 1 } }'
	train-mlp "${parts[@]}" --epochs 1 --lr 1e-12 --weight-decay 0 --model neumf --init-from mlp --init-from gmf --fusion 0.2 \
		-o neumf "$F/train.rec"
	table_of neumf
	paste mlp.tsv gmf.tsv neumf.tsv | awk '{ d = 0.2 * $3 + 0.8 * $6 - $9; if (d > 1e-4 || d < -1e-4) { print; exit 1 } }'
	fails 64 "with an mlp and a gmf" train-mlp "${parts[@]}" --model neumf --init-from mlp -o no "$F/train.rec"
	fails 65 "nothing that a mf could begin with" train-mlp "${parts[@]}" --model mf --init-from mlp -o no "$F/train.rec"
	fails 65 "12 factors, expected 5" train-mlp "${parts[@]}" --factors 5 --model gmf --init-from gmf -o no "$F/train.rec"
	fails 65 "a tower of 16-8-1" train-mlp "${parts[@]}" --layers 16-4-1 --model mlp --init-from mlp -o no "$F/train.rec"
}

@test "what does not go together is refused" {
	fails 64 "only mf and history are" train-mlp --quiet --model gmf --loss softmax -o no "$F/train.rec"
	fails 64 "whole catalogue alone" train-mlp --quiet --model history --loss bce -o no "$F/train.rec"
	fails 64 "at most 59 negatives" train-mlp --quiet --ratio 60 --loss bpr -o no "$F/train.rec"
	fails 64 "no other kind" train-mlp --quiet --model mf --loss squares -o no "$F/train.rec"
	fails 64 "no other kind" train-mlp --quiet --model ials --loss bce -o no "$F/train.rec"
	fails 65 "a larger regularization" train-mlp --quiet --model ials --regularization 0 --unobserved 0 -o no "$F/train.rec"
	fails 64 "a mf has no tower" train-mlp --quiet --model mf --precision bf16 -o no "$F/train.rec"
	fails 64 "--user-part is for" train-mlp --quiet --model mf --user-part -o no "$F/train.rec"
	fails 64 "needs interactions, not samples" bash -c "sample-neg -q --ratio 0 --epochs 2 '$F/train.rec' | train-mlp --quiet --model mf -o no -"
	train-mlp "${small[@]}" --model history -o history "$F/train.rec"
	train-mlp "${small[@]}" --model mf -o mf "$F/train.rec"
	fails 64 "needs --history" score -q -m history "$F/lists.rec"
	fails 64 "makes no use of --history" score -q -m mf --history "$F/train.rec" "$F/lists.rec"
	fails 64 "exclude each other" score -q -m mf --by popularity "$F/lists.rec"
	nothing_left no
}
