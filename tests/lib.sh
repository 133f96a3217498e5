# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the scripts that run tests and watch the kernel's log know.

# What a kernel says when something is wrong; dmabufx-tests has the same list
# (watch.c). Every report of lockdep has WARNING: in its first line. DMA-API also
# says that it is there.
# shellcheck disable=SC2034 # for who reads this
trouble='BUG:|BUG [^ ]+ \(|WARNING:|UBSAN:|KASAN|refcount_t:|list_add|list_del|DMA-API: .*(: |disabl)|ODEBUG:|kmemleak: [0-9]+ new suspected|INFO: task .* blocked|Oops|general protection|Call Trace'

# asked_for WORD PATTERN...: what has that word in its name is to be run.
asked_for() {
	(($# == 1)) || [[ ${*:2} == *"$1"* ]]
}
