# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Functions for scripts that run tests in a guest: a test that is a function of the shell,
# a program of tests, and the checks of a debug kernel at the end. The caller has an array
# called patterns: patterns of the names of tests.

# shellcheck source=tests/lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

leaks=/sys/kernel/debug/kmemleak

# shell_test NAME [COMMAND...]: runs a test. COMMAND, by default the function NAME, prints
# why it fails, or nothing.
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

# log_of NAME: the kernel's log since the last begin of this test.
log_of() {
	dmesg --syslog | sed -n "/dmabufx-tests: begin $1\$/h; //!H; \${ g; p }"
}

# run_program PROGRAM ARG...: runs a program of tests; the caller's patterns choose from the
# tests that the arguments leave.
run_program() {
	local status=0

	# shellcheck disable=SC2154 # our caller's
	"$@" "${patterns[@]}" || status=$?
	((status <= 1)) || echo "not ok ${1##*/}: ended with status $status"
}

# Prints memory that the kernel has lost since forget_leaks. kmemleak reports an object
# that is some seconds old. A single scan may miss a pointer that is moved meanwhile.
kernel_leaks_nothing() {
	sleep 6
	echo scan >"$leaks"
	echo scan >"$leaks"
	sed 's/^/# /' "$leaks" >&2
	grep '^unreferenced object' "$leaks" || true
}

# Ignores the memory that Linux lost before the tests.
forget_leaks() {
	[[ -e $leaks ]] || return 0
	echo scan >"$leaks"
	echo clear >"$leaks"
}

# Whether the kernel watches memory and locks, which makes it too slow for some things.
kernel_watches() {
	[[ -e /proc/lockdep_stats ]]
}

# The first report turns lockdep off; so does a full table.
lockdep_is_still_on() {
	grep -q 'debug_locks: *1' /proc/lockdep_stats || echo "lockdep has turned itself off"
}

# The last tests of a boot: asks a debug kernel about all that was done. Call this while
# dmabufx is loaded, if possible: then the reports name its functions.
conclude() {
	[[ ! -e $leaks ]] || shell_test kernel_leaks_nothing
	! kernel_watches || shell_test lockdep_is_still_on
}

# Loads the drivers of DRM devices that the lab has.
load_cards() {
	modprobe -a vgem bochs
	# The driver is called cirrus-qemu in newer kernels.
	modprobe -q cirrus || modprobe cirrus-qemu
}
