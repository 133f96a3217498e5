# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What scripts that boot guests, run tests and watch the kernel's log share: the table
# boots, and reports.h.

# Our callers know us by an absolute path. In a guest each process takes a tenth of a second.
lib_dir=${BASH_SOURCE[0]%/*}

# rows KIND [NAME]: those of the table boots, "NAME|FIELD|FIELD...".
rows() {
	sed -nE "/^$1 ${2:+$2 *\|}/{ s/^$1 +//; s/ *\| */|/g; p }" "$lib_dir/boots"
}

# row KIND NAME: the fields of one, its name first, into row[]; or false.
row() {
	local line

	line=$(rows "$1" "$2")
	[[ -n $line ]] || return
	# shellcheck disable=SC2034 # for who reads this
	IFS='|' read -r -a row <<<"$line|"
}

# explain KIND NAME: the lines below it.
explain() {
	sed -nE "/^$1 $2 /,/^[^\t]*$/{ s/^\t//p }" "$lib_dir/boots"
}

# What the kernel says when something is wrong, as one expression. Without a program: in
# the boot stale nothing may be loaded yet (guest-run).
# shellcheck disable=SC2034 # for who reads this
trouble=
while IFS= read -r line; do
	[[ ! $line =~ ^\"(.*)\",$ ]] || trouble+="${trouble:+|}${BASH_REMATCH[1]}"
done <"$lib_dir/reports.h"
unset line

# labelled LABEL: the lines of standard input, with LABEL/ before the names of results.
labelled() {
	sed -u -E "s,^(ok|not ok|skip) ,&$1/,"
}

# is_wanted NAME PATTERN...: one of the patterns matches it, or there are none.
is_wanted() {
	local name=$1 pattern
	shift

	(($#)) || return 0
	for pattern; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $name != $pattern ]] || return 0
	done
	return 1
}

# asked_for WORD PATTERN...: what has that word in its name is to be run.
asked_for() {
	(($# == 1)) || [[ ${*:2} == *"$1"* ]]
}
