// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx check: finds out whether this user can use dmabufx on this machine, and what to
 * change if not. BAD findings keep dmabufx from working; a note suggests an improvement.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <dmabufx.h>
#include <json-c/json.h>

#include "tool.h"

enum verdict { GOOD, NOTE, BAD };

static const char * const verdicts[] = { "ok", "note", "BAD" };

struct findings {
	bool json;
	bool bad;
	struct json_object *list;
};

/* @text may have a second line with advice. */
__attribute__((format(printf, 4, 5)))
static void found(struct findings *findings, enum verdict verdict, const char *what,
		  const char *fmt, ...)
{
	struct json_object *finding = json_object_new_object();
	char *text, *advice;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	advice = strchr(text, '\n');
	if (advice)
		*advice++ = 0;

	findings->bad |= verdict == BAD;
	if (!findings->json) {
		printf("%-5s %-8s %s\n", verdicts[verdict], what, text);
		if (advice)
			printf("%15s-> %s\n", "", advice);
	}
	json_object_object_add(finding, "what", json_object_new_string(what));
	json_object_object_add(finding, "verdict",
			       json_object_new_string(verdict == GOOD ? "ok" :
						      verdict == NOTE ? "note" : "bad"));
	json_object_object_add(finding, "text", json_object_new_string(text));
	json_object_object_add(finding, "advice",
			       advice ? json_object_new_string(advice) : NULL);
	json_object_array_add(findings->list, finding);
	free(text);
}

/* Reads the first line of a file. Returns false if it cannot be read. */
static bool read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(line, size, file);

	if (file)
		fclose(file);
	if (ok)
		line[strcspn(line, "\n")] = 0;
	return ok;
}

static void check_kernel(struct findings *findings)
{
	int major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	if (sscanf(name.release, "%d.%d", &major, &minor) < 2 ||
	    major < 6 || (major == 6 && minor < 12))
		found(findings, BAD, "kernel",
		      "%s is older than 6.12\n"
		      "install a newer kernel; on Debian 12 from bookworm-backports",
		      name.release);
	else if (!strstr(name.machine, "64") && strcmp(name.machine, "s390x"))
		found(findings, BAD, "kernel", "%s is no 64-bit machine", name.machine);
	else
		found(findings, GOOD, "kernel", "%s", name.release);
}

/* Returns whether depmod has found the module for this kernel. */
static bool is_installed(void)
{
	struct utsname name;
	char path[256], line[4096];
	bool installed = false;
	FILE *file;

	uname(&name);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", name.release);
	file = fopen(path, "re");
	while (file && !installed && fgets(line, sizeof(line), file))
		installed = strstr(line, "/dmabufx.ko");
	if (file)
		fclose(file);
	return installed;
}

static bool check_module(struct findings *findings)
{
	char version[32] = "";

	if (read_line("/sys/module/dmabufx/version", version, sizeof(version)) &&
	    !strcmp(version, VERSION))
		found(findings, GOOD, "module", "dmabufx %s is loaded", version);
	else if (*version)
		found(findings, NOTE, "module",
		      "dmabufx %s is loaded, but this program is %s\n"
		      "install the same version of both",
		      version, VERSION);
	else if (is_installed())
		found(findings, BAD, "module",
		      "dmabufx is installed but not loaded\n"
		      "sudo modprobe dmabufx; for each boot: a file in /etc/modules-load.d");
	else
		found(findings, BAD, "module",
		      "dmabufx is not installed for this kernel\n"
		      "install dmabufx-dkms and this kernel's headers (linux-headers-amd64, ...)");
	return *version;
}

/* Tells how to get access to a node that exists but cannot be opened. */
static void blame_node(struct findings *findings, enum verdict verdict,
		       const char *what, const char *path)
{
	const struct passwd *owner;
	const struct group *group;
	int error = errno;
	struct stat stat_;

	if (error != EACCES || stat(path, &stat_)) {
		found(findings, verdict, what, "%s cannot be opened: %s", path,
		      strerror(error));
		return;
	}
	owner = getpwuid(stat_.st_uid);
	group = getgrgid(stat_.st_gid);
	if (stat_.st_mode & 0060 && stat_.st_gid)
		found(findings, verdict, what,
		      "you may not open %s, which is %s's and the group %s's\n"
		      "sudo usermod -aG %s $USER, and log in again",
		      path, owner ? owner->pw_name : "somebody",
		      group ? group->gr_name : "?", group ? group->gr_name : "?");
	else if (!strcmp(path, DMABUFX_DEVICE))
		found(findings, verdict, what,
		      "you may not open %s, which is for %s alone\n"
		      "install the udev rule 60-dmabufx.rules, then sudo udevadm trigger %s",
		      path, owner ? owner->pw_name : "somebody", path);
	else
		found(findings, verdict, what,
		      "you may not open %s, which is for %s alone\n"
		      "sudo setfacl -m u:$USER:rw %s, or a udev rule for each boot",
		      path, owner ? owner->pw_name : "somebody", path);
}

static int check_node(struct findings *findings)
{
	int fd = open(DMABUFX_DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		found(findings, GOOD, "node", "you may open %s", DMABUFX_DEVICE);
	else if (errno == ENOENT)
		found(findings, BAD, "node",
		      "the module is loaded but there is no %s\n"
		      "is /dev a devtmpfs, or does this container lack the device?",
		      DMABUFX_DEVICE);
	else
		blame_node(findings, BAD, "node", DMABUFX_DEVICE);
	return fd;
}

/* Maps a dma-buf of one page, and closes it. */
static void check_mapping(struct findings *findings, int dmabuf)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *map;
	int ret = dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, &map);

	if (ret) {
		found(findings, BAD, "buffer", "cannot be mapped: %s", strerror(-ret));
	} else {
		found(findings, GOOD, "buffer", "one page was made and mapped");
		dmabufx_unmap(map, page);
	}
	close(dmabuf);
}

/* Makes and maps a buffer of one page. */
static void check_buffer(struct findings *findings, int device)
{
	struct dmabufx_request request = { .flags = DMABUFX_CREATE_CLOEXEC };
	int memfd = dmabufx_memfd("dmabufx check", 1, 0), dmabuf;
	char why[256];

	if (memfd < 0) {
		found(findings, BAD, "buffer", "no memfd: %s", strerror(-memfd));
		return;
	}
	dmabuf = dmabufx_create_memfd(device, memfd, 0, 0, &request);
	if (dmabuf < 0) {
		dmabufx_explain(&request, why, sizeof(why));
		found(findings, BAD, "buffer", "a buffer of one page cannot be made: %s",
		      why);
	} else {
		check_mapping(findings, dmabuf);
	}
	close(memfd);
}

static void check_limits(struct findings *findings, int device)
{
	struct dmabufx_query query;

	if (dmabufx_query(device, &query))
		return;
	if (query.user_limit < 8 << 20)
		found(findings, NOTE, "memlock",
		      "RLIMIT_MEMLOCK is %s: buffers can have no more private memory than that\n"
		      "raise memlock in /etc/security/limits.conf, or LimitMEMLOCK= of the service",
		      bytes_text(query.user_limit));
	else
		found(findings, GOOD, "memlock", "RLIMIT_MEMLOCK is %s",
		      query.user_limit == UINT64_MAX ? "not binding" :
		      bytes_text(query.user_limit));
	if (query.memfd_limit < 64 << 20)
		found(findings, NOTE, "memfds",
		      "memfd_limit_mib lets a user pin %s of memfds\n"
		      "raise /sys/module/dmabufx/parameters/memfd_limit_mib",
		      bytes_text(query.memfd_limit));
}

static void check_thp(struct findings *findings)
{
	const char *path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	char line[256];

	if (!read_line(path, line, sizeof(line)))
		found(findings, NOTE, "thp", "the kernel has no transparent huge pages");
	else if (strstr(line, "[never]") || strstr(line, "[deny]"))
		found(findings, NOTE, "thp",
		      "memfds get no transparent huge pages, which make buffers cheaper\n"
		      "echo advise > %s",
		      path);
	else
		found(findings, GOOD, "thp", "memfds may have transparent huge pages");
}

static void check_hvo(struct findings *findings)
{
	char line[16];

	if (!read_line("/proc/sys/vm/hugetlb_optimize_vmemmap", line, sizeof(line)))
		found(findings, NOTE, "hvo",
		      "the kernel cannot save the struct pages of hugetlb pages");
	else if (strcmp(line, "1"))
		found(findings, NOTE, "hvo",
		      "hugetlb pages keep all their struct pages (1.6 %% of their memory)\n"
		      "boot with hugetlb_free_vmemmap=on");
	else
		found(findings, GOOD, "hvo", "hugetlb pages do without most struct pages");
}

/* QEMU opens only /dev/udmabuf. */
static void check_qemu(struct findings *findings)
{
	int fd = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	struct dmabufx_query query;

	if (fd < 0 && errno == ENOENT) {
		found(findings, NOTE, "qemu",
		      "there is no /dev/udmabuf, which QEMU needs for virtio-gpu with blob=true\n"
		      "load the module with serve_udmabuf=1");
		return;
	}
	if (fd < 0) {
		blame_node(findings, NOTE, "qemu", "/dev/udmabuf");
		return;
	}
	if (dmabufx_query(fd, &query))
		found(findings, NOTE, "qemu", "/dev/udmabuf is something else");
	else if (!query.version)
		found(findings, NOTE, "qemu",
		      "/dev/udmabuf is the kernel's own driver, which QEMU will use\n"
		      "to serve it by dmabufx: initcall_blacklist=udmabuf_dev_init, serve_udmabuf=1");
	else
		found(findings, GOOD, "qemu", "/dev/udmabuf is served by dmabufx");
	close(fd);
}

static void check_mesa(struct findings *findings)
{
	glob_t nodes = { 0 };
	size_t i;
	int fd = -1;

	glob("/dev/dri/renderD*", 0, NULL, &nodes);
	for (i = 0; i < nodes.gl_pathc && fd < 0; i++)
		fd = open(nodes.gl_pathv[i], O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		found(findings, GOOD, "mesa", "you may open %s", nodes.gl_pathv[i - 1]);
	else if (nodes.gl_pathc)
		blame_node(findings, NOTE, "mesa", nodes.gl_pathv[0]);
	else
		found(findings, NOTE, "mesa",
		      "there is no GPU (/dev/dri/renderD*): Mesa draws with the CPU");
	globfree(&nodes);
	if (fd >= 0)
		close(fd);
}

int command_check(int argc, char **argv)
{
	struct findings findings = {
		.json = wants_json(argc, argv),
		.list = json_object_new_array(),
	};
	int device = -1;

	check_kernel(&findings);
	if (check_module(&findings))
		device = check_node(&findings);
	if (device >= 0) {
		check_buffer(&findings, device);
		check_limits(&findings, device);
		close(device);
	}
	check_thp(&findings);
	check_hvo(&findings);
	check_qemu(&findings);
	check_mesa(&findings);

	if (findings.json)
		print_json(findings.list);
	else
		json_object_put(findings.list);
	return findings.bad;
}
