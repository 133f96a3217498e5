# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Functions for scripts that boot guests, run tests or read the kernel's log: they read the
# table boots, and reports.h.

# Our callers know us by an absolute path. In a guest each process takes a tenth of a second.
lib_dir=${BASH_SOURCE[0]%/*}

# rows KIND [NAME]: prints rows of the table boots, as "NAME|FIELD|FIELD...".
rows() {
	sed -nE "/^$1 ${2:+$2 *\|}/{ s/^$1 +//; s/ *\| */|/g; p }" "$lib_dir/boots"
}

# row KIND NAME: puts the fields of a row into row[], the name first; false without one.
row() {
	local line

	line=$(rows "$1" "$2")
	[[ -n $line ]] || return
	# shellcheck disable=SC2034 # for who reads this
	IFS='|' read -r -a row <<<"$line|"
}

# machine_row NAME ARCHITECTURE: the row of a machine, as uname -m or Debian calls the
# architecture.
machine_row() {
	[[ $2 != aarch64 && $2 != arm64 ]] || ! row machine "$1-arm64" || return 0
	row machine "$1"
}

# explain KIND NAME: prints the lines below a row.
explain() {
	sed -nE "/^$1 $2 /,/^[^\t]*$/{ s/^\t//p }" "$lib_dir/boots"
}

# The reports of reports.h as one regular expression. The shell itself reads them, because
# in the boot stale no program may be loaded yet (guest-run).
# shellcheck disable=SC2034 # for who reads this
trouble=
while IFS= read -r line; do
	[[ ! $line =~ ^\"(.*)\",$ ]] || trouble+="${trouble:+|}${BASH_REMATCH[1]}"
done <"$lib_dir/reports.h"
unset line

# labelled LABEL: copies standard input, and puts LABEL/ before the names of results.
labelled() {
	sed -u -E "s,^(ok|not ok|skip) ,&$1/,"
}

# is_wanted NAME PATTERN...: whether a pattern matches the name, or there are no patterns.
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

# asked_for WORD PATTERN...: whether a pattern has this word in it, or there are none.
asked_for() {
	(($# == 1)) || [[ ${*:2} == *"$1"* ]]
}
