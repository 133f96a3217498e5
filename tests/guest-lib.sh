# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What runs in a guest and tests: a test that is a function of the shell, programs of
# tests, and what a kernel that watches itself says in the end. The array patterns is our
# caller's: patterns of the names of tests.

# shellcheck source=tests/lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

leaks=/sys/kernel/debug/kmemleak

# shell_test NAME [COMMAND...]: COMMAND, which is NAME by default, prints why it fails, or
# nothing.
shell_test() {
	local name=$1 why reports command=("${@:2}")

	((${#command[@]})) || command=("$name")
	echo "<5>dmabufx-tests: begin $name" >/dev/kmsg
	why=$("${command[@]}") || why+=" (exit status $?)"
	reports=$(log_of "$name" | grep -E "$trouble" || true)
	echo "<5>dmabufx-tests: end $name" >/dev/kmsg

	if [[ -n $reports ]]; then
		echo "# kernel: ${reports//$'\n'/$'\n'# kernel: }"
		echo "not ok $name: the kernel reported trouble${why:+; $why}"
	elif [[ -n $why ]]; then
		echo "not ok $name: ${why//$'\n'/; }"
	else
		echo "ok $name"
	fi
}

# What the kernel said since the test NAME began last.
log_of() {
	dmesg --syslog | sed -n "/dmabufx-tests: begin $1\$/h; //!H; \${ g; p }"
}

# run_program PROGRAM ARG...: a program of tests; what these arguments leave is chosen from
# by our caller's patterns.
run_program() {
	local status=0

	# shellcheck disable=SC2154 # our caller's
	"$@" "${patterns[@]}" || status=$?
	((status <= 1)) || echo "not ok ${1##*/}: ended with status $status"
}

# Memory of the kernel that nobody knows any more, beside what it lost by itself
# before (forget_leaks). A pointer may be on its way from one place to another
# during one scan, and an object has to be some seconds old.
kernel_leaks_nothing() {
	sleep 6
	echo scan >"$leaks"
	echo scan >"$leaks"
	sed 's/^/# /' "$leaks" >&2
	grep '^unreferenced object' "$leaks" || true
}

forget_leaks() {
	[[ -e $leaks ]] || return 0
	echo scan >"$leaks"
	echo clear >"$leaks"
}

# Whether the kernel watches memory and locks, which makes it too slow for some things.
kernel_watches() {
	[[ -e /proc/lockdep_stats ]]
}

# The first report turns lockdep off, and so does a table that is full.
lockdep_is_still_on() {
	grep -q 'debug_locks: *1' /proc/lockdep_stats || echo "lockdep has turned itself off"
}

# What a kernel that watches itself says of all that was done. To be asked while
# dmabufx is loaded: with a module goes what it lost.
conclude() {
	[[ ! -e $leaks ]] || shell_test kernel_leaks_nothing
	! kernel_watches || shell_test lockdep_is_still_on
}
