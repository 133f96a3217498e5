/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernels from 6.12 on lack of the newest, by capability and not by
 * version.
 */
#ifndef DMABUFX_COMPAT_H
#define DMABUFX_COMPAT_H

#include <linux/module.h>
#include <linux/slab.h>

/* Typed allocation of one object: since 7.0. */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp) kzalloc(sizeof(obj), gfp)
#endif

/* MODULE_IMPORT_NS() takes a string since 6.13, a bare word before. */
#define DMABUFX_IMPORT_NS(ns) MODULE_INFO(import_ns, ns)

#endif /* DMABUFX_COMPAT_H */
