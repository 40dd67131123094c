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
