# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the lab knows about architectures other than x86-64.

# Lines of LABEL ARCHITECTURE SUITE HEADERS IMAGE, in Debian's names. Both packages depend
# on those of the newest kernel. Kernels without an image (-) are only compiled for.
other_kernels() {
	cat <<-'END'
		arm64		arm64	trixie-backports	linux-headers-arm64		linux-image-arm64
		arm64-16k	arm64	trixie-backports	linux-headers-arm64-16k		linux-image-arm64-16k
		arm64-stable	arm64	trixie			linux-headers-arm64		linux-image-arm64
		riscv64		riscv64	trixie			linux-headers-riscv64		-
		ppc64el-64k	ppc64el	trixie			linux-headers-powerpc64le-64k	-
		s390x		s390x	trixie			linux-headers-s390x		-
	END
}

# is_other LABEL|VERSION: whether this is a kernel of another architecture.
is_other() {
	[[ $1 == *-arm64* ]] ||
		other_kernels | awk -v label="$1" '$1 == label { found = 1 } END { exit !found }'
}

# has_guests LABEL|VERSION: whether guests can boot that kernel of another architecture.
has_guests() {
	[[ $1 == *-arm64* ]] ||
		other_kernels | awk -v label="$1" '$1 == label && $5 != "-" { found = 1 }
						   END { exit !found }'
}

# compiler_of ARCHITECTURE: what the names of its tools begin with.
compiler_of() {
	case $1 in
	arm64) echo aarch64-linux-gnu ;;
	ppc64el) echo powerpc64le-linux-gnu ;;
	*) echo "$1-linux-gnu" ;;
	esac
}

# kernel_name ARCHITECTURE: what Linux calls it.
kernel_name() {
	case $1 in
	riscv64) echo riscv ;;
	ppc64el) echo powerpc ;;
	s390x) echo s390 ;;
	*) echo "$1" ;;
	esac
}
