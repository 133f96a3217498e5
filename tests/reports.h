/* SPDX-License-Identifier: MIT */
/*
 * Lines in the kernel's log that report an error, as extended regular expressions. C
 * programs include this list between braces; lib.sh and results.py read the strings. The
 * first line of each report of lockdep has WARNING: in it. DMA-API: has more words, for
 * the kernel also logs that DMA-API debugging is on.
 */
"BUG:",
"BUG [^ ]+ [(]",
"WARNING:",
"UBSAN:",
"KASAN",
"refcount_t:",
"list_(add|del) (double|corruption)",
"DMA-API: .*(: |disabl)",
"ODEBUG:",
"new suspected memory leaks",
"INFO: task .* blocked",
"Oops",
"general protection",
"bad p[g4um]d ",
"Call [Tt]race",
