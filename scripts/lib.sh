# shellcheck shell=bash
# Sourced by the other scripts: sections with their times.

section_name=
section_start=0

# section NAME: ends the section before, if any, and begins one.
section() {
	section_end
	section_name=$1
	section_start=$SECONDS
	printf '\n==== %s\n' "$section_name"
}

section_end() {
	[ -z "$section_name" ] || printf -- '---- %s: %d s\n' "$section_name" $((SECONDS - section_start))
	section_name=
}

# what_was_here FILE: writes to FILE what scripts/leftovers.sh would find now, and tells it: a run answers for its own only.
what_was_here() {
	scripts/leftovers.sh --now >"$1"
	[ -s "$1" ] || return 0
	printf 'on this machine before this run, and so not counted at its end:\n'
	cat "$1"
}
