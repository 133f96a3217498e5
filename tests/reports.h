/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says when something is wrong: a list of extended regular expressions.
 * C programs include this between braces; lib.sh and results.py read what is between
 * quotation marks. Every report of lockdep has WARNING: in its first line. DMA-API also
 * says that it is there.
 */
"BUG:",
"BUG [^ ]+ [(]",
"WARNING:",
"UBSAN:",
"KASAN",
"refcount_t:",
"list_add",
"list_del",
"DMA-API: .*(: |disabl)",
"ODEBUG:",
"new suspected memory leaks",
"INFO: task .* blocked",
"Oops",
"general protection",
"Call Trace",
