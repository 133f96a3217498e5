# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Completion of dmabufx(1) for bash.

_dmabufx() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local words i

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		words="info list create check bench --help --version"
	else
		# The words after -- are a command and its arguments.
		for ((i = 2; i < COMP_CWORD; i++)); do
			[[ ${COMP_WORDS[i]} != -- ]] || {
				mapfile -t COMPREPLY < <(compgen -A command -A file -- "$current")
				return
			}
		done
		case $previous in
		--file)
			mapfile -t COMPREPLY < <(compgen -A file -- "$current")
			return
			;;
		--page-size) words="4K 2M 1G" ;;
		--size|--name|--repetitions) return ;;
		*)
			case ${COMP_WORDS[1]} in
			info|list|check) words="--json --help" ;;
			bench) words="--json --size --repetitions --help" ;;
			create) words="--size --file --page-size --name --read-only --help --" ;;
			*) return ;;
			esac
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

# -o filenames quotes file names: the shell would run a name such as `command`.
complete -o filenames -F _dmabufx dmabufx
