# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# mount_root ROOT SOURCE: makes ROOT fit for chroot, with the checkout SOURCE
# at /src. For use in a private mount namespace only: nothing is unmounted.
#
# The root itself is read-only, since every run shares it. ROOT/mnt shows it
# without the mounts, which is what a guest gets to see.
mount_root() {
	local root=$1 source=$2 dir

	mount --bind "$root" "$root"
	mount -o remount,bind,ro "$root"
	mount --bind "$root" "$root/mnt"
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
