/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel lets us do to another process, each thing tried on a child
 * that sleeps. The order matters: once ptrace has worked the child is stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <linux/kcmp.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/map-query.h"
#include "injector/area-words.h"
#include "tools/ckpt.h"

#define GET_RSEQ_CONFIGURATION 0x420f /* Linux 5.13 */
#define GET_SYSCALL_INFO 0x420e       /* Linux 5.3 */
#define XSTATE 0x202                  /* NT_X86_XSTATE */

struct pm_scan_arg { /* Linux 6.7 */
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct page_region {
	uint64_t start, end, categories;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_PRESENT (1 << 3)

static int result(long r)
{
	return r < 0 ? -errno : 0;
}

static int ptrace_stop(struct ckpt_feature_site *s)
{
	int status;

	/* TRACESYSGOOD from the first instant on, as in a dump. */
	if (ptrace(PTRACE_SEIZE, s->child, NULL, (void *)PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, s->child, NULL, NULL) < 0)
		return -errno;
	if (waitpid(s->child, &status, __WALL) < 0)
		return -errno;
	s->stopped = WIFSTOPPED(status);
	return s->stopped ? 0 : -ESRCH;
}

static int registers(struct ckpt_feature_site *s)
{
	unsigned char buf[16384];
	struct iovec iov = { buf, sizeof(buf) };

	if (ptrace(PTRACE_GETREGSET, s->child, (void *)XSTATE, &iov) < 0)
		return -errno;
	snprintf(s->detail, sizeof(s->detail), "%zu bytes", iov.iov_len);
	return 0;
}

static int syscall_info(struct ckpt_feature_site *s)
{
	unsigned char buf[128];

	return result(ptrace(GET_SYSCALL_INFO, s->child, (void *)sizeof(buf), buf));
}

static int rseq(struct ckpt_feature_site *s)
{
	struct {
		uint64_t addr;
		uint32_t size, signature, flags, pad;
	} conf;

	return result(ptrace(GET_RSEQ_CONFIGURATION, s->child, (void *)sizeof(conf), &conf));
}

static int peek_signals(struct ckpt_feature_site *s)
{
	struct {
		uint64_t off;
		uint32_t flags;
		int32_t nr;
	} args = { 0, 0, 1 };
	siginfo_t info;

	return result(ptrace(PTRACE_PEEKSIGINFO, s->child, &args, &info));
}

static int read_memory(struct ckpt_feature_site *s)
{
	static const char word[8] = "ckpt ok";
	char copy[8] = "";
	struct iovec here = { copy, 8 }, there = { (void *)word, 8 };

	if (process_vm_readv(s->child, &here, 1, &there, 1, 0) != 8)
		return -errno;
	return memcmp(copy, word, 8) ? -EIO : 0;
}

static int pidfd(struct ckpt_feature_site *s)
{
	s->pidfd = syscall(SYS_pidfd_open, s->child, 0);
	return result(s->pidfd);
}

static int dup_fd(struct ckpt_feature_site *s)
{
	CKPT_FD fd = syscall(SYS_pidfd_getfd, s->pidfd, s->eventfd, 0);

	return result(fd);
}

static int compare(struct ckpt_feature_site *s)
{
	long r = syscall(SYS_kcmp, getpid(), s->child, KCMP_FILE, s->eventfd, s->eventfd);

	return r > 0 ? -EIO : result(r);
}

static int pagemap_scan(struct ckpt_feature_site *s)
{
	static char page[4096] __attribute__((aligned(4096))) = "present";
	struct page_region found;
	struct pm_scan_arg arg = { .size = sizeof(arg),
				   .start = (uintptr_t)page,
				   .end = (uintptr_t)page + 4096,
				   .vec = (uintptr_t)&found,
				   .vec_len = 1,
				   .category_mask = PAGE_IS_PRESENT,
				   .return_mask = PAGE_IS_PRESENT };
	char name[32];

	snprintf(name, sizeof(name), "/proc/%d/pagemap", s->child);
	CKPT_FD fd = open(name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : result(ioctl(fd, PAGEMAP_SCAN, &arg));
}

static int first_area(struct ckpt_feature_site *s, unsigned long *startp, unsigned long *endp)
{
	char name[32], line[256] = "";
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", s->child);
	maps = fopen(name, "re");
	if (!maps)
		return -errno;
	if (!fgets(line, sizeof(line), maps))
		line[0] = 0;
	fclose(maps);
	return sscanf(line, "%lx-%lx", startp, endp) == 2 ? 0 : -EIO;
}

/* Of its first area, which is the program's own file. */
static int map_query(struct ckpt_feature_site *s)
{
	struct ckpt_procmap_query query = { .size = sizeof(query) };
	unsigned long start, end;
	char name[32];
	int r = first_area(s, &start, &end);

	if (r < 0)
		return r;
	query.query_addr = start;
	snprintf(name, sizeof(name), "/proc/%d/maps", s->child);
	CKPT_FD fd = open(name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : result(ioctl(fd, CKPT_PROCMAP_QUERY, &query));
}

/* Following these links, not just reading them, is what deleted files need. */
static int map_files(struct ckpt_feature_site *s)
{
	unsigned long start, end;
	char name[64];
	int r = first_area(s, &start, &end);

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "/proc/%d/map_files/%lx-%lx", s->child, start, end);
	CKPT_FD fd = open(name, O_RDONLY | O_CLOEXEC);

	return result(fd);
}

#define N_WORDS 256 /* areas, of a child of ours */

static int area_words(struct ckpt_feature_site *s)
{
	struct ckpt_area_word word[N_WORDS];
	struct ckpt_area_words words;
	size_t n;
	int r;

	errno = ENOSYS;
	r = ckpt_area_words_open(&words) &&
			    ckpt_area_words_read(&words, s->child, word, N_WORDS, &n) ?
		    0 :
		    -errno;
	ckpt_area_words_close(&words);
	return r;
}

const struct ckpt_feature ckpt_features_target[] = {
	{ "pidfd_open", true, pidfd, "nothing can be dumped" },
	{ "pidfd_getfd", true, dup_fd, "open files cannot be dumped" },
	{ "kcmp", true, compare,
	  "shared files cannot be told from separate ones: nothing can be dumped" },
	{ "process_vm_readv", true, read_memory, "memory cannot be dumped" },
	{ "PAGEMAP_SCAN", false, pagemap_scan, "dumps of much memory take longer" },
	{ "PROCMAP_QUERY", false, map_query,
	  "programs that run from files they may not read any more are not compared by build-id" },
	{ "bpf_iter task_vma", false, area_words,
	  "dumps of much memory beside a running program take longer" },
	{ "map_files", false, map_files, "programs that map deleted files cannot be dumped" },
	{ "ptrace", true, ptrace_stop, "nothing can be dumped" },
	{ "NT_X86_XSTATE", true, registers, "registers cannot be dumped" },
	{ "PTRACE_GET_SYSCALL_INFO", true, syscall_info, "nothing can be dumped" },
	{ "PTRACE_PEEKSIGINFO", true, peek_signals, "pending signals cannot be dumped" },
	{ "PTRACE_GET_RSEQ_CONFIGURATION", true, rseq,
	  "threads of a newer glibc cannot be dumped" },
	{ NULL },
};
