# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# mount_root ROOT SOURCE: prepares ROOT for chroot, with the checkout SOURCE
# at /src. Only for use in a private mount namespace: nothing is unmounted.
#
# The root itself is read-only, since all runs share it. ROOT/mnt shows it
# without the mounts; guests see that.
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
