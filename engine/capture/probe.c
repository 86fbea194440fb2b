/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one sort of open file from another, and the one kind that claims it. */
#include <ctype.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include "engine/capture/state.h"
#include "engine/model/kind.h"

#define MQUEUE_MAGIC 0x19800202
#define N_MAGICS (sizeof(((struct ckpt_capture *)0)->magics) / sizeof(struct ckpt_fs_magic))

bool ckpt_probe_anon(const struct ckpt_probe *probe, const char *cls)
{
	size_t n = strlen(cls);

	return !strncmp(probe->link, "anon_inode:[", 12) && !strncmp(probe->link + 12, cls, n) &&
	       !strcmp(probe->link + 12 + n, "]");
}

bool ckpt_probe_mqueue(const struct ckpt_probe *probe)
{
	return probe->fs_magic == MQUEUE_MAGIC && S_ISREG(probe->st.st_mode);
}

bool ckpt_probe_of_process(const struct ckpt_probe *probe)
{
	return probe->fs_magic == PROC_SUPER_MAGIC && !strncmp(probe->link, "/proc/", 6) &&
	       isdigit((unsigned char)probe->link[6]);
}

/* Asked once for each device: thousands of descriptors live on a handful of them. */
static int fs_magic(struct ckpt_capture *c, int fd, uint64_t dev, long *magicp,
		    struct ckpt_err *err)
{
	struct statfs fs;

	for (unsigned int i = 0; i < c->n_magics; i++) {
		if (c->magics[i].dev == dev) {
			*magicp = c->magics[i].magic;
			return 0;
		}
	}
	if (fstatfs(fd, &fs) < 0)
		return ckpt_fail(err, -errno, "cannot ask for its file system");
	*magicp = fs.f_type;
	if (c->n_magics < N_MAGICS)
		c->magics[c->n_magics++] = (struct ckpt_fs_magic){ dev, fs.f_type };
	return 0;
}

static int socket_option(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

int ckpt_probe_fill(struct ckpt_capture *c, int fd, struct ckpt_probe *probe, struct ckpt_err *err)
{
	if (fstat(fd, &probe->st) < 0)
		return ckpt_fail(err, -errno, "cannot stat");
	probe->domain = probe->type = probe->protocol = -1;
	if (S_ISSOCK(probe->st.st_mode)) {
		probe->domain = socket_option(fd, SO_DOMAIN);
		probe->type = socket_option(fd, SO_TYPE);
		probe->protocol = socket_option(fd, SO_PROTOCOL);
	}
	return fs_magic(c, fd, probe->st.st_dev, &probe->fs_magic, err);
}

int ckpt_probe_kind(const struct ckpt_probe *probe, const struct ckpt_kind **kindp,
		    struct ckpt_err *err)
{
	*kindp = NULL;
	if (probe->path_only && probe->link[0] != '/')
		return 0;
	for (unsigned int i = 0; i < ckpt_n_kinds; i++) {
		const struct ckpt_kind *kind = ckpt_kinds[i];

		if (kind->scope != CKPT_PER_FILE || !kind->match(probe))
			continue;
		if (*kindp)
			return ckpt_fail(err, -EBADMSG, "%s: both kind %s and kind %s claim it",
					 probe->link, (*kindp)->name, kind->name);
		*kindp = kind;
	}
	return 0;
}

static const char *domain_name(int domain)
{
	switch (domain) {
	case AF_UNIX:
		return "Unix";
	case AF_INET:
		return "IPv4";
	case AF_INET6:
		return "IPv6";
	case AF_NETLINK:
		return "netlink";
	case AF_PACKET:
		return "packet";
	case AF_VSOCK:
		return "vsock";
	case AF_ALG:
		return "kernel crypto";
	case AF_BLUETOOTH:
		return "Bluetooth";
	case AF_CAN:
		return "CAN";
	case AF_XDP:
		return "XDP";
	}
	return "unknown";
}

static const char *type_name(int type)
{
	switch (type) {
	case SOCK_STREAM:
		return "stream ";
	case SOCK_DGRAM:
		return "datagram ";
	case SOCK_SEQPACKET:
		return "seqpacket ";
	case SOCK_RAW:
		return "raw ";
	}
	return "";
}

/* What people call the kernel's own files, by the beginning of their links. */
static const char *sort_name(const char *link)
{
	static const struct {
		const char *begin, *name;
	} sorts[] = {
		{ "anon_inode:[io_uring]", "an io_uring, which most programs do without where the "
					   "sysctl kernel.io_uring_disabled is 2" },
		{ "anon_inode:[userfaultfd]", "a userfaultfd" },
		{ "anon_inode:[perf_event]", "a counter of perf_event_open(2)" },
		{ "anon_inode:bpf-map", "a BPF map" },
		{ "anon_inode:bpf-prog", "a BPF program" },
		{ "anon_inode:bpf_link", "a BPF link" },
		{ "anon_inode:bpf", "a part of BPF" },
		{ "anon_inode:btf", "type information of BPF" },
		{ "anon_inode:kvm-vm", "a virtual machine of KVM" },
		{ "anon_inode:kvm-vcpu", "a processor of a virtual machine" },
		{ "anon_inode:kvm", "a part of a virtual machine" },
		{ "anon_inode:[guest_memfd]", "memory of a virtual machine" },
		{ "anon_inode:[landlock-ruleset]", "a Landlock ruleset" },
		{ "anon_inode:seccomp notify", "who decides for a seccomp filter" },
		{ "anon_inode:[fscontext]", "a file system that is being set up (fsopen)" },
		{ "anon_inode:[vfio", "a device of VFIO" },
		{ "anon_inode:[iommufd]", "an IOMMU" },
		{ "anon_inode:sync_file", "a fence of a device" },
		{ "anon_inode:gpio", "lines of a GPIO chip" },
		{ "anon_inode:[infiniband", "events of InfiniBand" },
		{ "anon_inode:", "a file of the kernel's own" },
		{ "/secretmem", "secret memory (memfd_secret)" },
		{ "/dmabuf:", "a buffer of a device (dma-buf)" },
		{ "/[aio]", "asynchronous I/O" },
		{ "/drm mm object", "memory of a graphics card" },
		{ "/i915", "memory of a graphics card" },
	};

	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++)
		if (!strncmp(link, sorts[i].begin, strlen(sorts[i].begin)))
			return sorts[i].name;
	return NULL;
}

void ckpt_probe_describe(const struct ckpt_probe *probe, char *buf, size_t size)
{
	unsigned int major = probe->st.st_rdev >> 8 & 0xfff, minor = probe->st.st_rdev & 0xff;
	mode_t mode = probe->st.st_mode;
	const char *sort = sort_name(probe->link);

	if (probe->path_only)
		snprintf(buf, size, "%s (open as a path only)", probe->link);
	else if (sort)
		snprintf(buf, size, "%s (%s)", probe->link, sort);
	else if (S_ISSOCK(mode))
		snprintf(buf, size, "%s (%s %ssocket)", probe->link, domain_name(probe->domain),
			 type_name(probe->type));
	else if (S_ISCHR(mode))
		snprintf(buf, size, "%s (character device %u:%u)", probe->link, major, minor);
	else if (S_ISBLK(mode))
		snprintf(buf, size, "%s (block device %u:%u)", probe->link, major, minor);
	else if (S_ISLNK(mode))
		snprintf(buf, size, "%s (symbolic link)", probe->link);
	else if (probe->link[0] != '/' || probe->fs_magic)
		snprintf(buf, size, "%s (file system type %#lx)", probe->link, probe->fs_magic);
	else
		snprintf(buf, size, "%s", probe->link);
}
