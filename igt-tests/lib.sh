# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the guest's scripts share. $src is the checkout, $tests this folder.

lab=${src:?}/lab
# shellcheck source=lab/lib.sh
. "$lab/lib.sh"

igt=$(igt_dir)/usr
programs=$src/build/bin/igt
# shellcheck disable=SC2034 # for who reads this
modules=$src/build/modules/$(uname -r)

export LD_LIBRARY_PATH=$igt/lib/x86_64-linux-gnu
# What QEMU shows on its side of a display.
export DMABUFX_SCREENDUMP=$lab/guest/screendump

# names PATTERN...: patterns of the shell's kind as one regular expression of igt's
# names.
names() {
	local pattern sum=

	for pattern; do
		pattern=${pattern//./\\.}
		pattern=${pattern//\*/.*}
		sum+="|${pattern//\?/.}"
	done
	echo "^igt@(${sum#|})\$"
}

# program_folder DIR FROM PROGRAM...: programs of the folder FROM, for igt_runner, which
# starts each in its folder to ask what subtests it has.
program_folder() {
	local dir=$1 from=$2 program
	shift 2

	mkdir "$dir"
	for program; do
		ln -s "$from/$program" "$dir"
	done
	printf '%s\n' TESTLIST "$*" 'END TESTLIST' >"$dir/test-list.txt"
}

# run_subtests RESULTS PATTERN...: prints a line for each result; leaves results.json
# and all that was said in RESULTS. None of what $exclude matches.
run_subtests() {
	local results=$1 which
	shift

	which=(--include-tests "$(names "$@")")
	[[ -z ${exclude:-} ]] || which+=(--exclude-tests "$exclude")
	# A failure to it, when nothing has such a name.
	"$igt/bin/igt_runner" --list-all "${which[@]}" "$programs" >/tmp/igt-names \
		2>/dev/null || true
	[[ -s /tmp/igt-names ]] || return 0
	mkdir -p "$results"
	"$igt/bin/igt_runner" --overwrite --per-test-timeout 300 \
		--abort-on-monitored-error=taint --prune-mode keep-dynamic \
		"${which[@]}" "$programs" "$results" >"$results.log" 2>&1 ||
		echo "not ok igt: igt_runner ended with status $?, see ${results##*/}.log"
	"$src/tests/results.py" igt "$results/results.json" /tmp/igt-names \
		"${tests:?}/udmabuf-expected"
}

prepare() {
	# The kernel calls this place of tracefs, where libigt looks first, deprecated.
	ls /sys/kernel/debug/tracing >/dev/null
	echo 160 >/proc/sys/vm/nr_hugepages
	modprobe -a vgem bochs hwpoison_inject
	# Newer kernels have another name for it.
	modprobe -q cirrus || modprobe cirrus-qemu
	insmod "$modules/dmabufx-importer.ko"
}
