# shellcheck shell=bash disable=SC2154  # variables of lib.sh and run
# From ratings.csv to records: the parser, at once and by two tools with text in between; streams; negatives.

group_ingest() {
	local base=ingest.20m folder=$work/ingest file bytes run split split_peak few=$((runs < 3 ? runs : 3)) way n
	wanted $base.mb_per_s $base.t1.mb_per_s $base.text.mb_per_s $base.text.t1.mb_per_s $base.csvsplit.mb_per_s \
		$base.encode.mb_per_s synth.20m.mb_per_s csv.mb_per_s csv.ratings.mb_per_s $base.bytes_per_rating \
		$base.csvsplit.bytes_per_rating $base.encode.bytes_per_rating negatives.20m.t1.per_s || return 0
	enough_disk $((ingest_rows * 80)) || return 0
	mkdir -p "$folder"
	file=$folder/ratings.csv
	for ((run = 0; run < few; run++)); do
		timed synth-ratings -q --users "${large_shape% *}" --items "${large_shape#* }" --ratings "$ingest_rows" \
			--seed 1 -o "$file"
		bytes=$(stat -c %s "$file")
		ours synth.20m.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $elapsed")"
		record_ceiling_of_reading "$file"
		for part in csv ratings; do
			[ $part = csv ] && way=csv || way=csv.ratings
			ours $way.mb_per_s MB/s higher "$(figure_of $part parts --part $part "$file")"
			ceiling $way.mb_per_s read 1
		done
		if have_peers; then
			for way in pandas pyarrow; do
				ask csv $way "$file"
				peer csv.ratings.mb_per_s "$way, one thread" "$answer"
			done
		fi
		record_ceiling_of_copying "$file" "$bytes"
		for n in 1 "$threads"; do
			rm -f "$folder"/*.rec "$folder"/*.ids
			timed csvsplit -q --records --threads "$n" --out "$folder" "$file"
			[ "$n" != 1 ] || ours $base.t1.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $elapsed")"
		done
		ours $base.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $elapsed")"
		ours $base.bytes_per_rating B lower "$(calculate "$peak / $ingest_rows")"
		for n in 1 "$threads"; do
			timed csvsplit -q --threads "$n" --out "$folder" "$file"
			split=$elapsed split_peak=$peak
			timed encode-ids -q --threads "$n" --users "$folder/users.ids" --items "$folder/items.ids" --out "$folder" \
				"$folder/train.csv" "$folder/valid.csv" "$folder/test.csv"
			[ "$n" != 1 ] || ours $base.text.t1.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / ($split + $elapsed)")"
		done
		ours $base.csvsplit.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $split")"
		ours $base.encode.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / $elapsed")"
		ours $base.text.mb_per_s MB/s higher "$(calculate "$bytes / 1e6 / ($split + $elapsed)")"
		ours $base.csvsplit.bytes_per_rating B lower "$(calculate "$split_peak / $ingest_rows")"
		ours $base.encode.bytes_per_rating B lower "$(calculate "$peak / $ingest_rows")"
		for way in t1. text. text.t1. csvsplit. encode. ''; do ceiling $base.${way}mb_per_s copy 1; done
		ours negatives.20m.t1.per_s 1/s higher "$(calculate "1e6 * $(figure_of sampler parts --part sampler \
			"$folder/train.rec")")"
	done
	rm -rf "$folder"
}

record_ceiling_of_reading() { # FILE, which is in the page cache
	ours ceiling.read MB/s higher "$(figure_of ceiling.read ceilings --read "$1")"
}

record_ceiling_of_copying() { # FILE BYTES: a copy of it that is on the disk, not only in the page cache
	timed dd if="$1" of="$1.copy" bs=1M conv=fsync status=none
	ours ceiling.copy MB/s higher "$(calculate "$2 / 1e6 / $elapsed")"
	rm -f "$1.copy"
}

group_streams() {
	local name run part
	wanted stream.write.mb_per_s stream.read.mb_per_s && ml1m || return 0
	for ((run = 0; run < runs; run++)); do
		for part in write read; do
			name=stream.$part.mb_per_s
			wanted $name || continue
			ours $name MB/s higher "$(figure_of stream-$part parts --part stream-$part --rounds 3 "$ml1m/train.rec")"
			ceiling $name crc32.t1 1000
		done
	done
}

# A negative in a stream is four bytes and its share of the user and the positive: six that are checksummed.
group_negatives() {
	local name run n way passes=5
	wanted negatives.t1.per_s "negatives.t$threads.per_s" sample-neg.negatives_per_s sample-neg.pipe.negatives_per_s &&
		ml1m || return 0
	[ "$epochs" = 0 ] || passes=$epochs
	for ((run = 0; run < runs; run++)); do
		for n in $(thread_counts); do
			name=negatives.t$n.per_s
			wanted "$name" || continue
			ours "$name" 1/s higher "$(calculate "1e6 * $(figure_of sampler parts --part sampler --threads "$n" \
				"$ml1m/train.rec")")"
		done
		for way in '' pipe.; do
			name=sample-neg.${way}negatives_per_s
			wanted "$name" || continue
			if [ -z "$way" ]; then
				timed sample-neg -q --epochs "$passes" --threads "$threads" -o /dev/null "$ml1m/train.rec"
			else
				# shellcheck disable=SC2016  # the inner shell's
				timed bash -c 'sample-neg -q --epochs "$1" --threads "$2" "$3" | dd bs=1M of=/dev/null' - "$passes" \
					"$threads" "$ml1m/train.rec"
			fi
			ours "$name" 1/s higher "$(calculate "$positives * 4 * $passes / $elapsed")"
			ceiling "$name" crc32.t1 "$(calculate '1e9 / 6')"
		done
	done
}
