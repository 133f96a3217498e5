# SPDX-License-Identifier: GPL-2.0-only
#
# The version of everything here is only in the module's main.c.
VERSION := $(shell sed -n 's/^.define VERSION_M[AI][JN]OR[[:space:]]*//p' \
	$(dir $(lastword $(MAKEFILE_LIST)))drivers/dmabufx/main.c | paste -sd .)
