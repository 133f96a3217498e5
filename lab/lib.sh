# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Shared by the lab's programs. Their messages go to stderr, because stdout belongs to
# the command that the user runs.

say() {
	printf '%s\n' "$*" >&2
}

die() {
	printf 'lab: %s\n' "$*" >&2
	exit 1
}

# step [--progress FUNCTION] LOG TEXT COMMAND...: runs COMMAND with its output in
# LOG. Prints one line with TEXT and, at the end, how long it took. FUNCTION prints the
# progress of a long COMMAND; if stderr is no terminal, that is shown once a minute.
step() {
	local progress=: log text start=$SECONDS status=0 pid
	if [[ $1 == --progress ]]; then
		progress=$2
		shift 2
	fi
	log=$1 text=$2
	shift 2

	printf '%s ... ' "$text" >&2
	"$@" >>"$log" 2>&1 </dev/null &
	pid=$!
	if [[ -t 2 ]]; then
		spin
	elif [[ $progress != : ]]; then
		mutter
	fi
	wait "$pid" || status=$?
	[[ ! -t 2 ]] || printf '\r\033[K%s ... ' "$text" >&2
	if ((status == 0)); then
		printf '%d s\n' $((SECONDS - start)) >&2
		return
	fi

	say "failed after $((SECONDS - start)) s"
	tail -n 20 "$log" | sed 's/^/    /' >&2
	say "The whole log: $log"
	return "$status"
}

# spin, mutter: step's, until its COMMAND ends.
spin() {
	local spin='.oOo' i=0

	while kill -0 "$pid" 2>/dev/null; do
		printf '\r\033[K%s ... %s %d s %s ' "$text" "${spin:i++ % 4:1}" \
			$((SECONDS - start)) "$("$progress")" >&2
		sleep 0.5
	done
}

mutter() {
	local next=60

	while kill -0 "$pid" 2>/dev/null; do
		if ((SECONDS - start >= next)); then
			printf '%s ... ' "$("$progress")" >&2
			next=$((next + 60))
		fi
		sleep 1
	done
}

# How this host reaches a mirror (proxies and the like) holds for what is made from it, too.
# make-root has the same: if it did not, every lab would be made anew.
host_apt_options() {
	apt-config dump --format '%F "%v"%n' |
		sed -nE 's/^Acquire::(https?::|Check-|Retries|ForceIP)/--aptopt=&/Ip'
}

# kernels ROOT: prints lines "LABEL VERSION" for the kernels in the lab's root. Debian's
# kernels came with the root, those of other architectures with make-arches. Kernels that
# the lab compiled from the fragments of this checkout have their hash in the version; other
# checkouts have put others there.
kernels() {
	local root=$1 label version

	cat "$root/etc/lab-kernels"
	[[ ! -e $root/etc/lab-other-kernels ]] || cat "$root/etc/lab-other-kernels"
	for label in "${own_kernels[@]}"; do
		version=$(compgen -G "$root/usr/lib/modules/*-$(kernel_key "$label")") ||
			continue
		echo "$label ${version##*/}"
	done
}

# The kernels that the lab compiles itself: one that checks memory, locks and DMA, one
# that finds races, and a configured source to compile modules with clang.
own_kernels=(debug kcsan clang)

# fragments LABEL: prints the configuration fragments of one of these. $lab is this folder.
# shellcheck disable=SC2154 # set by who reads this
fragments() {
	echo "$lab/debug.config"
	[[ $1 != kcsan ]] || echo "$lab/kcsan.config"
}

# A hash of configuration and build script, without comments.
kernel_key() {
	local fragments

	mapfile -t fragments < <(fragments "$1")
	echo "$1-$({
		sed '/^[[:space:]]*#/d' "$lab/make-kernel"
		grep -h CONFIG_ "${fragments[@]}"
	} | sha256sum | cut -c 1-8)"
}

# The progress of make-kernel, for step; the total number of files was counted once.
files_compiled() {
	printf '%d of about %d files' "$(grep -cE '^  (CC|AS|AR) ' "$log")" 2000
}

# Where igt-gpu-tools is in the lab's root, once somebody fetched it. The name has a hash,
# since other checkouts may need another version.
igt_dir() {
	echo "/opt/igt-$(sha256sum <"$lab/make-igt" | cut -c 1-8)"
}

# link_sources TREE: makes links in TREE to the sources of this checkout, which
# is at /src. So every kernel has its own objects, and does not see objects that
# make modules left beside the sources.
link_sources() {
	local tree=$1 file

	find Kbuild bench/kernel drivers examples/kexport include uapi -type f \
		\( -name '*.[chS]' -o -name Kbuild \) ! -name '*.mod.c' |
	while read -r file; do
		mkdir -p "$tree/$(dirname "$file")"
		ln -sf "/src/$file" "$tree/$file"
	done
	find "$tree" -xtype l -delete
}
