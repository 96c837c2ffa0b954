# What every tool on PATH owes its caller, whatever it does: help, version, man page, completion, usage errors.
load helpers

setup_file() {
	[ -n "$(tools)" ] || { echo "no tools in $BIN" >&2; return 1; }
}

# tools: the name of each executable under test.
tools() {
	find "$BIN" -maxdepth 1 -type f -executable -printf '%f\n' | sort
}

# each FUNCTION: runs FUNCTION TOOL for every tool; the last one named is the one that failed. (Not behind ||
# or in an if, which would turn off errexit inside.)
each() {
	local tool
	while read -r tool; do
		echo "the tool is $tool"
		"$@" "$tool" </dev/null
	done < <(tools)
}

help_begins_with_usage() {
	expect 0 "$1" --help
	[ -z "$stderr" ]
	[[ ${lines[0]} == "Usage: $1 "* ]]
	[[ $output == *"Options:"*"--help"*"Exit status:"*" 64 "* ]]
}

@test "every tool: --help exits 0, begins with the usage and names the tool" {
	each help_begins_with_usage
}

# The rows of the option table all come out, none cut: a line of --help is never wider than 110 columns
# unless it is a command to copy or a long list of choices.
help_is_readable() {
	"$1" --help >help.txt
	local wide blank
	wide=$(sed -n '/^Options:/,/^Examples:/p' help.txt | grep -v -- '--[a-z-]* .*|' | grep -E '^.{111}' || true)
	[ -z "$wide" ]
	blank=$(grep -nE '[[:space:]]$' help.txt || true)
	[ -z "$blank" ]
}

@test "every tool: --help is readable" {
	each help_is_readable
}

version_names_tool() {
	expect 0 "$1" --version
	[[ $output == "$1 (recpipe) "[0-9]* ]]
	[ "${#lines[@]}" -eq 1 ]
}

@test "every tool: --version is one line with the tool's name" {
	each version_names_tool
}

unknown_is_refused() {
	fails 64 "unknown option '--no-such-option'" "$1" --no-such-option
	[[ $stderr == "$1: "*"see $1 --help" ]]
	[ -z "$output" ]
	fails 64 "unknown option '-@'" "$1" -@
	fails 64 "no value is expected in option '--help=yes'" "$1" --help=yes
}

@test "every tool: an unknown option is named, exits 64 and points to --help" {
	each unknown_is_refused
}

full_disk_is_told() {
	local answer status
	for answer in --help --version --man --completion; do
		status=0
		"$1" "$answer" >/dev/full 2>message || status=$?
		[ "$status" -eq 74 ]
		[ "$(cat message)" = "$1: (stdout): cannot write: No space left on device" ]
	done
	status=0
	"$1" --help >&- 2>message || status=$?
	[ "$status" -eq 74 ]
}

@test "every tool: help that cannot be written exits 74" {
	each full_disk_is_told
}

closed_pipe_is_quiet() {
	{ "$1" --man || echo $? >code; } 2>message | true
	[ ! -s message ]
	[ ! -e code ] || [ "$(cat code)" -eq 141 ]
	rm -f code
}

@test "every tool: a closed pipe ends --man quietly" {
	each closed_pipe_is_quiet
}

# Every long option that --help lists, --no- forms of flags that are on included.
listed() {
	"$1" --help | sed -n '/^Options:/,/^Examples:\|^Exit status:/p' |
		sed -nE 's/^  (-.,|   ) --(\[no-\])?([a-z0-9-]+).*/\3/p'
}

man_is_clean() {
	"$1" --man >page.1
	local option
	while read -r option; do
		grep -qF -- "${option//-/\\-}\\fR" page.1 || { echo "--man lacks --$option" >&2; return 1; }
	done < <(listed "$1")
	[ -n "$(listed "$1")" ]
	if command -v mandoc >/dev/null; then
		mandoc -Tlint -Werror page.1
	fi
	if command -v groff >/dev/null; then
		groff -man -Kutf8 -Tutf8 -ww -rLL=100n -P-cbou page.1 >page.txt 2>warnings
		[ ! -s warnings ] || { cat warnings >&2; return 1; }
		grep -q 'EXIT STATUS' page.txt
	fi
}

@test "every tool: --man is a man page without warnings that has every option" {
	command -v groff >/dev/null || command -v mandoc >/dev/null || skip "neither groff nor mandoc is installed"
	each man_is_clean
}

completion_works() {
	"$1" --completion >completion
	bash -n completion
	# In a shell of its own: what would be offered behind "--"?
	# shellcheck disable=SC2016
	bash -c '. ./completion
		read -ra spec <<<"$(complete -p "$1")"
		COMP_WORDS=("$1" --) COMP_CWORD=1
		"${spec[-2]}"
		printf "%s\n" "${COMPREPLY[@]}"' - "$1" >offered
	local option
	while read -r option; do
		grep -qxE -- "--(no-)?$option" offered || { echo "completion lacks --$option" >&2; return 1; }
	done < <(listed "$1")
}

@test "every tool: --completion is bash that offers every option" {
	each completion_works
}

# A flag takes no value, everything else refuses to go without one: judged by the table's own help.
values_are_wanted() {
	local option
	while read -r option; do
		fails 64 "a value is missing behind option '--$option'" "$1" "--$option"
	done < <("$1" --help | sed -n '/^Options:/,/^Exit status:/p' | sed -nE 's/^  (-.,|   ) --([a-z0-9-]+) [^ ].*/\2/p')
}

@test "every tool: an option without its value is named" {
	each values_are_wanted
}

# Numbers: beyond their range, and no number at all.
numbers_are_checked() {
	local option
	while read -r option; do
		fails 64 "--$option: 'seven'" "$1" "--$option" seven
		fails 64 "--$option: '99999999999999999999'" "$1" "--$option=99999999999999999999"
	done < <("$1" --help | sed -nE 's/^  (-.,|   ) --([a-z0-9-]+) N( .*)?$/\2/p')
}

@test "every tool: a number that is none, or too large, is refused by name" {
	each numbers_are_checked
}
