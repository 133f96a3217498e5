# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Runs guests side by side: call "begin COMMAND..." for each, then "wait". Ctrl-C ends all
# of them.

# How many guests to run at once: one for each processor, if there is enough memory. Most
# tests keep one processor busy.
most_guests() {
	local room processors

	room=$(awk '/^MemAvailable:/ { print int($2 / 5242880) }' /proc/meminfo)
	processors=$(nproc)
	room=$((room < processors ? room : processors))
	echo $((room > 1 ? room : 1))
}

# begin COMMAND...: starts a job in a process group of its own, which Ctrl-C does not reach.
# SIGTERM ends the lab, and the lab ends its guest.
begin() {
	while (($(jobs -pr | wc -l) >= at_once)); do
		wait -n || true
	done
	set -m
	"$@" </dev/null &
	set +m
}

stop() {
	local group

	trap '' INT TERM HUP
	for group in $(jobs -p); do
		kill -TERM -- "-$group" 2>/dev/null || true
	done
	wait
	exit "$1"
}

at_once=$(most_guests)
trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP
