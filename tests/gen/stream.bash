# Streams spelled out byte by byte after docs/formats.md, independently of the C that writes them: source it.
# Functions write bytes to stdout; payloads are files, since a shell's variables cannot hold zeros.

# u32 N...: little-endian. f32 takes the bits.
u32() {
	local n
	for n in "$@"; do
		# shellcheck disable=SC2059  # the format is the bytes
		printf "$(printf '\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))"
	done
}

u64() {
	local n
	for n in "$@"; do
		u32 $((n & 0xffffffff)) $((n >> 32 & 0xffffffff))
	done
}

# crc: the CRC-32 of stdin, as gzip's trailer has it.
crc() {
	gzip -c | tail -c 8 | head -c 4
}

# sealed: stdin and its CRC behind it.
sealed() {
	local copy
	copy=$(mktemp)
	cat >"$copy"
	cat "$copy"
	crc <"$copy"
	rm -f "$copy"
}

# deflated: stdin as zlib has it: gzip's deflate between zlib's header and the Adler-32.
deflated() {
	local copy a b
	copy=$(mktemp)
	cat >"$copy"
	printf '\x78\x01'
	gzip -1nc "$copy" | tail -c +11 | head -c -8
	read -r a b < <(od -An -v -tu1 "$copy" | awk 'BEGIN { a = 1 }
		{ for (i = 1; i <= NF; i++) { a += $i; b += a } a %= 65521; b %= 65521 }
		END { print a, b }')
	# shellcheck disable=SC2059  # the format is the bytes
	printf "$(printf '\\x%02x' $((b >> 8)) $((b & 255)) $((a >> 8)) $((a & 255)))"
	rm -f "$copy"
}

magic() {
	printf '\x89REC\r\n\x1a\n'
}

# header KIND METADATA [VERSION [REQUIRED [OPTIONAL [METADATA_SIZE]]]]
header() {
	{
		magic
		u32 "${3:-1}" "$1" "${4:-0}" "${5:-0}" "${6:-${#2}}"
		printf '%s' "$2"
	} | sealed
}

# block RECORDS PAYLOAD [SIZE [STORED]]: PAYLOAD is the file of the stored bytes; SIZE and STORED may lie.
block() {
	local size
	size=$(stat -c %s "$2")
	{
		printf BLK1
		u32 "$1" "${3:-$size}" "${4:-$size}"
		crc <"$2"
	} | sealed
	cat "$2"
}

# end RECORDS BLOCKS CONTENT: CONTENT is the file of all records, unpacked.
end() {
	{
		printf END1
		u64 "$1" "$2"
		crc <"$3"
	} | sealed
}

# stream KIND METADATA RECORDS PAYLOAD: a whole one of one block.
stream() {
	header "$1" "$2"
	block "$3" "$4"
	end "$3" 1 "$4"
}

# The metadata of streams of 3 users and 5 items that are of no map; EXTRA goes in front: metadata '"ratio":1,'
metadata() {
	printf '{%s"items":{"count":5,"digest":""},"options":"","tool":"by hand","users":{"count":3,"digest":""}}' "${1:-}"
}

# interaction USER ITEM: rated 4.5 at 123456789
interaction() {
	u32 "$1" "$2" 0x40900000
	u64 123456789
}
