#!/usr/bin/env bash
# Installs the packages of deps.txt that are missing; does nothing, offline too, when none is.
# Usage: deps.sh [optional]      (with "optional", those too)
# Exit: 0 done · 66 no deps.txt · 69 not Debian, or no root and no sudo: the command to run is printed · 71 apt-get failed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

[ -r deps.txt ] || { echo "deps.sh: deps.txt: cannot be read" >&2; exit 66; }
wanted=$(awk -v optional="${1:-}" '!/^#/ && NF && ($2 != "optional" || optional == "optional") { print $1 }' deps.txt)

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: no dpkg here; install what these Debian packages hold: ${wanted//$'\n'/ }" >&2
	exit 69
fi
missing=()
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && command -v sudo >/dev/null; }; then
		echo "deps.sh: missing packages, and neither root nor sudo to install them. Run as root:" >&2
		echo "  apt-get update && apt-get install --no-install-recommends -y ${missing[*]}" >&2
		exit 69
	fi
	as_root=(sudo)
fi
echo "deps.sh: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install=("${as_root[@]}" apt-get install --no-install-recommends -y -qq "${missing[@]}")
# The lists may be absent (a fresh container) or old: fetch them only when the first try fails.
"${install[@]}" >/dev/null 2>&1 && exit 0
if ! "${as_root[@]}" apt-get update -qq >&2 || ! "${install[@]}" >&2; then
	echo "deps.sh: apt-get failed; try: apt-get update && apt-get install ${missing[*]}" >&2
	exit 71
fi
