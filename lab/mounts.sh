# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# mount_root ROOT SOURCE [ARCHES]: prepares ROOT for chroot, with the checkout SOURCE
# at /src. Only for use in a private mount namespace: nothing is unmounted.
#
# The root itself is read-only, since all runs share it. ROOT/mnt shows it
# without the mounts; guests see that. ARCHES, for other architectures, is what make-arches
# fetched: its tools are laid over ROOT, and ROOT/mnt is the root of arm64 guests.
mount_root() {
	local root=$1 source=$2 arches=${3:-} guest=$1 dir

	if [[ -n $arches ]]; then
		guest=$arches/arm64
		# Relative, for the names may have commas and colons.
		(cd "${root%/*}" && mount -t overlay overlay "$root" \
			-o "lowerdir=${arches##*/}/tree:${root##*/}")
	else
		mount --bind "$root" "$root"
		mount -o remount,bind,ro "$root"
	fi
	mount --bind "$guest" "$root/mnt"
	mount -o remount,bind,ro "$root/mnt"
	mount --bind "$source" "$root/mnt/src"
	mount -o remount,bind,ro "$root/mnt/src"
	mount --bind "$source" "$root/src"
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount --rbind /dev "$root/dev"
	for dir in tmp run var/tmp root; do
		mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"
	done
}
