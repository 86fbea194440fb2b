/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about this process that a restored task inherits until it gives them up: credentials,
 * priority, limits. Also which processors are there. Impure, like host.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "engine/base/cleanup.h"
#include "engine/base/label.h"
#include "engine/base/text.h"
#include "engine/plan/host.h"

/* NULL where there is no such file: what it tells is then left at its default. */
static int read_text(struct ckpt_arena *arena, const char *path, char **textp, struct ckpt_err *err)
{
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	*textp = NULL;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return ckpt_fail(err, -errno, "%s: cannot open", path);
	return ckpt_in(err, ckpt_read_all(arena, fd, textp, NULL, err), "%s", path);
}

static int read_number(struct ckpt_arena *arena, const char *path, int64_t *valuep,
		       struct ckpt_err *err)
{
	const char *s;
	char *text;
	int r = read_text(arena, path, &text, err);

	if (r < 0 || !text)
		return r;
	s = text;
	if (!ckpt_parse_i64(&s, 10, valuep))
		return ckpt_fail(err, -EBADMSG, "%s: cannot read the number", path);
	return 0;
}

/* "0-3,8,10-11" */
static int parse_cpus(const char *s, uint8_t *cpus, struct ckpt_err *err)
{
	uint64_t first, last;

	while (ckpt_parse_u64(&s, 10, &first)) {
		last = first;
		if (*s == '-') {
			s++;
			if (!ckpt_parse_u64(&s, 10, &last))
				break;
		}
		if (last < first || last >= 8 * CKPT_CPU_BYTES)
			break;
		for (; first <= last; first++)
			cpus[first / 8] |= 1 << first % 8;
		if (*s != ',')
			return 0;
		s++;
	}
	return ckpt_fail(err, -EBADMSG, "online processors: cannot read the list");
}

/* The first user namespace maps all numbers to themselves. A copy of it that does so too is taken
 * for it: what it cannot do then fails where it is tried. */
static bool is_init_userns(const char *map)
{
	uint64_t inside, outside, count;

	return ckpt_parse_u64(&map, 10, &inside) && ckpt_parse_u64(&map, 10, &outside) &&
	       ckpt_parse_u64(&map, 10, &count) && !inside && !outside && count == UINT32_MAX;
}

/* "thread vulnerable", "conditional enabled": a thread may choose. */
static bool is_choice(const char *status, const char *key)
{
	const char *s = ckpt_line_after(status, key);

	return s && (ckpt_word_is(s, "thread") || ckpt_word_is(s, "conditional"));
}

static int probe_status(struct ckpt_host *h, struct ckpt_arena *arena, struct ckpt_err *err)
{
	char *status;
	int r = read_text(arena, "/proc/thread-self/status", &status, err);

	if (r < 0)
		return r;
	if (!status)
		return ckpt_fail(err, -ENOENT, "/proc/thread-self/status: cannot open");
	h->label = ckpt_label_own(arena);
	h->filtered = !ckpt_word_is(ckpt_line_after(status, "Seccomp") ?: "0", "0");
	h->can_store_bypass = is_choice(status, "Speculation_Store_Bypass");
	h->can_indirect_branch = is_choice(status, "SpeculationIndirectBranch");
	r = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, 0, 0, 0);
	h->can_flush_l1d = r > 0 && r & PR_SPEC_PRCTL;
	r = prctl(PR_GET_SECUREBITS);
	if (r < 0)
		return ckpt_fail(err, -errno, "securebits: cannot get");
	h->creds.securebits = r;
	return ckpt_in(err, ckpt_creds_parse(arena, status, &h->creds, err), "/proc/thread-self");
}

/* What cannot be is refused in another way than what there is not. */
static bool has_clamps(void)
{
	struct sched_attr attr = { .size = sizeof(attr),
				   .sched_flags = SCHED_FLAG_KEEP_ALL | SCHED_FLAG_UTIL_CLAMP_MIN,
				   .sched_util_min = 1u << 20 };

	return syscall(SYS_sched_setattr, 0, &attr, 0) < 0 && errno == EINVAL;
}

static int probe_sched(struct ckpt_host *h, struct ckpt_err *err)
{
	struct sched_attr attr = { 0 };

	h->has_clamps = has_clamps();

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0)
		return ckpt_fail(err, -errno, "scheduling: cannot get");
	h->policy = attr.sched_policy;
	h->nice = attr.sched_nice;
	h->rt_priority = attr.sched_priority;
	if (syscall(SYS_get_mempolicy, &h->mempolicy, NULL, 0, NULL, 0) < 0 && errno != ENOSYS)
		return ckpt_fail(err, -errno, "memory policy: cannot get");
	syscall(SYS_get_mempolicy, NULL, h->nodes, 8 * sizeof(h->nodes), NULL, MPOL_F_MEMS_ALLOWED);
	return 0;
}

static int probe_numbers(struct ckpt_host *h, struct ckpt_arena *arena, struct ckpt_err *err)
{
	int64_t last_cap = 40, oom = 0, nr_open = 0; /* CAP_CHECKPOINT_RESTORE */
	int r;

	r = read_number(arena, "/proc/sys/kernel/cap_last_cap", &last_cap, err);
	if (r < 0)
		return r;
	r = read_number(arena, "/proc/self/oom_score_adj", &oom, err);
	if (r < 0)
		return r;
	r = read_number(arena, "/proc/sys/fs/nr_open", &nr_open, err);
	if (r < 0)
		return r;
	if (last_cap < 0 || last_cap > 63)
		return ckpt_fail(err, -EBADMSG,
				 "/proc/sys/kernel/cap_last_cap: number out of range");
	h->last_cap = last_cap;
	h->oom_score_adj = oom;
	h->nr_open = nr_open > 0 ? nr_open : 0;
	return 0;
}

int ckpt_host_probe_creds(struct ckpt_host *h, struct ckpt_arena *arena, struct ckpt_err *err)
{
	char *text;
	int r;

	r = probe_status(h, arena, err);
	if (r < 0)
		return r;
	r = probe_sched(h, err);
	if (r < 0)
		return r;
	r = probe_numbers(h, arena, err);
	if (r < 0)
		return r;
	r = read_text(arena, "/proc/self/uid_map", &text, err);
	if (r < 0)
		return r;
	h->init_userns = !text || is_init_userns(text); /* no file: no user namespaces in this
							   kernel */
	r = read_text(arena, "/sys/devices/system/cpu/online", &text, err);
	if (r < 0)
		return r;
	memset(h->cpus, text ? 0 : 0xff, sizeof(h->cpus)); /* no /sys here: let the kernel judge */
	return text ? parse_cpus(text, h->cpus, err) : 0;
}
