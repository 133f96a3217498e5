# SPDX-License-Identifier: GPL-2.0-only
#
# For people; the kernel's build uses Kbuild.

include version.mk

# How long make fuzz and make stress run.
MINUTES ?= 10

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
# udev looks there if PREFIX is /usr or /usr/local.
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
# Headers and symbols for other modules are installed there.
MODULE_API := $(PREFIX)/lib/dmabufx
OUT := $(CURDIR)/build/install
MODULE := $(CURDIR)/drivers/dmabufx
RELEASE = $(shell cat $(KDIR)/include/config/kernel.release)

# Installing below one of these roots changes nothing else on this system. Relative paths
# start here, not where another Makefile runs. The modules may have a root of their own.
root := $(filter-out /,$(abspath $(DESTDIR)))
modules_root := $(filter-out /,$(abspath $(or $(INSTALL_MOD_PATH),$(DESTDIR))))
# The same defaults as kbuild.
INSTALL_MOD_DIR ?= updates
export INSTALL_MOD_STRIP ?= 1
W := 1

# kbuild uses gcc if no compiler is named. A kernel that was compiled by clang needs clang,
# and lld if it was linked by that: LLVM=1, or LLVM=-19 if only such names are installed.
kernel_is = $(shell grep -sx 'CONFIG_$(1)=y' $(KDIR)/include/config/auto.conf)
llvm_suffix = $(shell \
	v=$$(sed -n 's/^CONFIG_CLANG_VERSION=\(.*\)....$$/\1/p' $(KDIR)/include/config/auto.conf); \
	clang -dumpversion 2>&1 | grep -q "^$$v\." || ! command -v clang-$$v >/dev/null || \
	echo "-$$v")
compiler_given = $(filter command override,$(origin CC))$(filter-out undefined,$(origin LLVM))
compiler = $(if $(compiler_given),,$(if $(call kernel_is,CC_IS_CLANG),$(if \
	$(call kernel_is,LD_IS_LLD),LLVM=$(or $(llvm_suffix),1),CC=clang$(llvm_suffix))))

# dkms has no other root. Stop here, so that it does not change this system by mistake.
ifneq ($(and $(filter dkms uninstall-dkms,$(MAKECMDGOALS)),$(root)$(modules_root)),)
$(error dkms installs into the running system, not below DESTDIR or INSTALL_MOD_PATH)
endif

.DEFAULT_GOAL := all

help:
	@echo 'In the lab, a virtual machine; this machine'\''s kernel is never changed:'
	@echo '  make demo       show a picture from a memfd through Mesa and on a display;'
	@echo '                  on another architecture with ARCH=arm64'
	@echo '  make check      test what holds for dmabufx, on kernels of Debian'
	@echo '  make check-all  run all tests, on every kernel: before a change is finished'
	@echo '  make check-debug run only those of the debug kernel'
	@echo '  make check-kcsan run tests with several threads, on a kernel that finds races'
	@echo '  make check-nested run only the tests in which QEMU in the guest uses the driver'
	@echo '  make check-arm64 test what holds for dmabufx on arm64, which is emulated'
	@echo '  make igt        run the tests of igt-gpu-tools, by its runner'
	@echo '  make mutations  break the module in many ways: tests have to fail'
	@echo '  make fuzz       run random system calls (MINUTES=$(MINUTES))'
	@echo '  make stress     use many buffers at once while memory is short (MINUTES=$(MINUTES))'
	@echo '  make bench      compare dmabufx with udmabuf, by instructions'
	@echo '  make bench-docs the same, and copy the results to docs/bench'
	@echo '  make guest      open a shell in the guest, with the module loaded'
	@echo '  make build      build modules for every kernel, and programs, into build/'
	@echo '  make deb        build Debian packages, into build/deb'
	@echo '  make configs    compile modules for Linux in many configurations, before a release'
	@echo '  make arches     compile and link modules for other architectures, before a release'
	@echo '  make lint       check all sources: shellcheck, checkpatch, sparse, W=1, and more'
	@echo '  make lab-clean  remove the lab'\''s cache'
	@echo
	@echo 'For this machine'\''s own kernel (KDIR=$(KDIR)):'
	@echo '  make modules    build dmabufx.ko'
	@echo '  make            build it, libdmabufx and dmabufx(1)'
	@echo '  make install    install them and a udev rule (DESTDIR=..., PREFIX=...,'
	@echo '                  INSTALL_MOD_PATH=... for the module; see README)'
	@echo '  make programs, make install-programs, make modules_install'
	@echo '                  parts of that'
	@echo '  make dkms       let dkms build and install the module; installs the udev rule'
	@echo '  make uninstall, make uninstall-dkms'
	@echo '                  remove them again'
	@echo
	@echo '  make clean      remove what was built in this folder'

all: modules programs

programs:
	$(MAKE) -C libdmabufx OUT=$(OUT)
	$(MAKE) -C tools OUT=$(OUT)

# make demo ARCH=arm64 shows it there; who compiles kernels may have another ARCH exported.
demo:
	@lab/demo $(if $(filter command,$(origin ARCH)),$(ARCH))

check:
	@tests/check

check-all:
	@tests/check --all

check-debug:
	@tests/check --kernel debug

check-kcsan:
	@tests/check --kernel kcsan

check-nested:
	@tests/check -b nested

check-arm64:
	@tests/check -k arm64 -k arm64-16k -k arm64-stable

igt:
	@tests/check -b igt

mutations:
	@tests/mutate

bench:
	@bench/run

bench-docs:
	@bench/run --docs

guest:
	@lab/lab shell

build:
	@lab/lab build

fuzz:
	@tests/fuzz/run --minutes $(MINUTES)

stress:
	@tests/stress/run --minutes $(MINUTES)

deb:
	@packaging/deb

configs:
	@lab/lab configs

arches:
	@lab/lab arches

lint:
	@lab/lint

lab-clean:
	@lab/lab clean

modules:
	$(MAKE) -C $(KDIR) M=$(MODULE) W=$(W) $(compiler) modules

# dkms keeps a file of that name, for modules that use dmabufx.
Module.symvers: modules
	cp $(MODULE)/$@ $@

# Distributions' headers lack the key for signing modules: trying to sign would only print
# errors. Compressing would need xz. The index of modules is updated here, since kbuild does
# that only if there is a System.map. In another root, whoever assembles that root does it.
modules_install:
	$(MAKE) -C $(KDIR) M=$(MODULE) INSTALL_MOD_PATH=$(modules_root) $(compiler) \
		$(if $(wildcard $(KDIR)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=) \
		CONFIG_MODULE_COMPRESS_ALL= DEPMOD=true modules_install
	[ -n "$(modules_root)" ] || depmod $(RELEASE)

install: modules_install install-module-api install-rules install-programs

install-module-api:
	install -D -m 644 include/linux/dmabufx.h \
		$(root)$(MODULE_API)/include/linux/dmabufx.h
	install -D -m 644 $(MODULE)/Module.symvers \
		$(root)$(MODULE_API)/$(RELEASE)/Module.symvers

install-programs:
	$(MAKE) -C libdmabufx OUT=$(OUT) DESTDIR=$(root) install
	$(MAKE) -C tools OUT=$(OUT) DESTDIR=$(root) install
	[ -n "$(root)" ] || [ "$$(id -u)" != 0 ] || ldconfig

# The sources and instructions for dkms, which looks only in /usr/src.
install-dkms-source:
	install -d $(root)/usr/src/dmabufx-$(VERSION)
	cp -r --parents Makefile version.mk Kbuild include/linux uapi/linux \
		$(filter-out %.mod.c,$(wildcard drivers/dmabufx/*.[ch])) drivers/dmabufx/Kbuild \
		$(root)/usr/src/dmabufx-$(VERSION)
	install -m 644 dkms.conf $(root)/usr/src/dmabufx-$(VERSION)

dkms: install-dkms-source install-rules
	dkms install dmabufx/$(VERSION) -k $(RELEASE)

uninstall-dkms: uninstall-rules
	dkms remove dmabufx/$(VERSION) --all
	rm -rf /usr/src/dmabufx-$(VERSION)

# The udev rule for the node. A target of its own, since dkms installs only modules.
install-rules:
	install -D -m 644 packaging/60-dmabufx.rules $(root)$(UDEVDIR)/60-dmabufx.rules

uninstall-rules:
	rm -f $(root)$(UDEVDIR)/60-dmabufx.rules

uninstall: uninstall-rules
	$(MAKE) -C libdmabufx DESTDIR=$(root) uninstall
	$(MAKE) -C tools DESTDIR=$(root) uninstall
	rm -rf $(root)$(MODULE_API)
	rm -f $(modules_root)/lib/modules/$(RELEASE)/$(INSTALL_MOD_DIR)/dmabufx.ko
	[ -n "$(modules_root)" ] || depmod $(RELEASE)

clean:
	rm -rf build Module.symvers
	@[ ! -e $(KDIR) ] || $(MAKE) -C $(KDIR) M=$(MODULE) clean

.PHONY: help all programs demo check check-all check-debug check-kcsan check-nested \
	check-arm64 igt \
	mutations fuzz stress bench bench-docs guest build deb configs arches lint \
	lab-clean modules modules_install install install-module-api install-programs \
	install-rules install-dkms-source dkms uninstall uninstall-dkms uninstall-rules clean
