# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How the lab's programs speak: all of it goes to stderr, because stdout
# belongs to the command that somebody wanted to run.

say() {
	printf '%s\n' "$*" >&2
}

die() {
	printf 'lab: %s\n' "$*" >&2
	exit 1
}

# step LOG TEXT COMMAND...: runs COMMAND with its output in LOG, under one line
# that says what is going on and, at the end, how long it took.
step() {
	local log=$1 text=$2 start=$SECONDS status=0 pid spin='.oOo' i=0
	shift 2

	printf '%s ... ' "$text" >&2
	"$@" >>"$log" 2>&1 </dev/null &
	pid=$!
	while [[ -t 2 ]] && kill -0 "$pid" 2>/dev/null; do
		printf '\r%s ... %s %d s ' "$text" "${spin:i++ % 4:1}" \
			$((SECONDS - start)) >&2
		sleep 0.5
	done
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
