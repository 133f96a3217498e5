# SPDX-License-Identifier: GPL-2.0-only
#
# For people; the kernel's build reads Kbuild.

include version.mk

# For how long make fuzz and make stress do it.
MINUTES ?= 10

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
# Below /usr and /usr/local, udev looks there.
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
# What other modules are compiled with is installed there.
MODULE_API := $(PREFIX)/lib/dmabufx
OUT := $(CURDIR)/build/install
MODULE := $(CURDIR)/drivers/dmabufx
RELEASE = $(shell cat $(KDIR)/include/config/kernel.release)

# Roots that are installed below, nothing for this system's own. Relative ones begin
# here, and not where another Makefile works. The modules may have one for themselves.
root := $(filter-out /,$(abspath $(DESTDIR)))
modules_root := $(filter-out /,$(abspath $(or $(INSTALL_MOD_PATH),$(DESTDIR))))
# As kbuild has them.
INSTALL_MOD_DIR ?= updates
export INSTALL_MOD_STRIP ?= 1
W := 1

# kbuild takes gcc, if nobody names a compiler. A kernel that clang compiled takes
# clang, and lld if that linked it: LLVM=1, or LLVM=-19 where they have such names only.
kernel_is = $(shell grep -sx 'CONFIG_$(1)=y' $(KDIR)/include/config/auto.conf)
llvm_suffix = $(shell \
	v=$$(sed -n 's/^CONFIG_CLANG_VERSION=\(.*\)....$$/\1/p' $(KDIR)/include/config/auto.conf); \
	clang -dumpversion 2>&1 | grep -q "^$$v\." || ! command -v clang-$$v >/dev/null || \
	echo "-$$v")
compiler_given = $(filter command override,$(origin CC))$(filter-out undefined,$(origin LLVM))
compiler = $(if $(compiler_given),,$(if $(call kernel_is,CC_IS_CLANG),$(if \
	$(call kernel_is,LD_IS_LLD),LLVM=$(or $(llvm_suffix),1),CC=clang$(llvm_suffix))))

# dkms has no other root: do not touch this system's when another was meant.
ifneq ($(and $(filter dkms uninstall-dkms,$(MAKECMDGOALS)),$(root)$(modules_root)),)
$(error dkms installs into the running system, not below DESTDIR or INSTALL_MOD_PATH)
endif

.DEFAULT_GOAL := all

help:
	@echo 'In the lab, a virtual machine; nothing touches this machine'\''s kernel:'
	@echo '  make demo       a picture from a memfd through Mesa and to a display'
	@echo '  make check      what holds for dmabufx, on kernels as Debian makes them'
	@echo '  make check-all  all tests there are, on every kernel: before you call it done'
	@echo '  make check-debug of these, those on the debug kernel'
	@echo '  make check-kcsan those with several threads, on a kernel that sees races'
	@echo '  make check-nested QEMU in the guest as the user of the driver'
	@echo '  make igt        tests of igt-gpu-tools, by its runner'
	@echo '  make igt-mutations  break the module in many ways: those tests have to fail'
	@echo '  make mutations  the same for all other tests, on the debug kernel'
	@echo '  make fuzz       system calls that nobody would write (MINUTES=$(MINUTES))'
	@echo '  make stress     many buffers at once while memory is short (MINUTES=$(MINUTES))'
	@echo '  make bench      dmabufx against udmabuf, by instructions'
	@echo '  make bench-docs the same, into docs/bench'
	@echo '  make guest      a shell in the guest, module loaded'
	@echo '  make build      modules for every kernel, and programs, into build/'
	@echo '  make deb        Debian packages, into build/deb'
	@echo '  make configs    modules for Linux configured in many ways, before a release'
	@echo '  make lint       shellcheck, checkpatch, sparse, W=1'
	@echo '  make lab-clean  remove the lab'\''s cache'
	@echo
	@echo 'For this machine'\''s own kernel (KDIR=$(KDIR)):'
	@echo '  make modules    build dmabufx.ko'
	@echo '  make            build it, libdmabufx and dmabufx(1)'
	@echo '  make install    install them and a udev rule (DESTDIR=..., PREFIX=...,'
	@echo '                  INSTALL_MOD_PATH=... for the module; README has all)'
	@echo '  make programs, make install-programs, make modules_install'
	@echo '                  the parts of it'
	@echo '  make dkms       have dkms build and install the module, with the udev rule'
	@echo '  make uninstall, make uninstall-dkms'
	@echo '                  remove them'
	@echo
	@echo '  make clean      remove what was built in this folder'

all: modules programs

programs:
	$(MAKE) -C libdmabufx OUT=$(OUT)
	$(MAKE) -C tools OUT=$(OUT)

demo:
	@lab/demo

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

igt:
	@tests/check -b igt

igt-mutations:
	@igt-tests/mutate

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

lint:
	@lab/lint

lab-clean:
	@lab/lab clean

modules:
	$(MAKE) -C $(KDIR) M=$(MODULE) W=$(W) $(compiler) modules

# dkms keeps a file of that name, for modules that use ours.
Module.symvers: modules
	cp $(MODULE)/$@ $@

# Distributions' headers come without the key that their own modules are signed
# with: trying to sign would only print errors. Compressing asks for xz. The index
# of modules is brought up to date here, since the kernel's build does that only
# where there is a System.map; in another root it is for whoever puts that together.
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

# What dkms compiles, and how. It looks in /usr/src alone.
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

# Who may open the node. For dkms, which installs only modules.
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

.PHONY: help all programs demo check check-all check-debug check-kcsan check-nested igt \
	igt-mutations mutations fuzz stress bench bench-docs guest build deb configs lint \
	lab-clean modules modules_install install install-module-api install-programs \
	install-rules install-dkms-source dkms uninstall uninstall-dkms uninstall-rules clean
