/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc/self and asks the kernel; nothing is changed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/text.h"
#include "engine/plan/host.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40 /* Linux 5.9 */
#endif
#define REAP_NS 1000000000ull
#define PR_TIMER_CREATE_RESTORE_IDS 77 /* Linux 6.15 */
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2

static void probe_caps(struct ckpt_host *h)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t on;

	for (int i = 0; caps && i < 64; i++)
		if (cap_get_flag(caps, i, CAP_EFFECTIVE, &on) == 0 && on == CAP_SET)
			h->caps |= 1ull << i;
	cap_free(caps);
}

static bool is_special(const char *name)
{
	return !strcmp(name, "[vdso]") || !strncmp(name, "[vvar", 5);
}

/* One line of /proc/self/maps: "start-end rwxp offset dev inode   name". */
static void put_area(struct ckpt_host *h, struct ckpt_arena *arena, const char *line, size_t len)
{
	Ckpt__Area *a = &h->areas[h->n_areas];
	char text[256], name[64] = "";

	len = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
	memcpy(text, line, len);
	text[len] = '\0';
	ckpt__area__init(a);
	if (sscanf(text, "%lx-%lx %*s %*s %*s %*s %63s", &a->start, &a->end, name) < 2 ||
	    a->end > CKPT_TASK_SIZE)
		return;
	if (is_special(name)) {
		a->flags = CKPT__AREA__FLAG__VDSO;
		a->name = ckpt_strdup(arena, name);
	}
	h->n_areas++;
}

static int probe_areas(struct ckpt_host *h, struct ckpt_arena *arena, struct ckpt_err *err)
{
	CKPT_FD fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t len, n = 0;
	char *text;
	int r;

	if (fd < 0)
		return ckpt_fail(err, -errno, "/proc/self/maps: cannot open");
	r = ckpt_read_all(arena, fd, &text, &len, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	h->areas = ckpt_alloc(arena, (n + 1) * sizeof(*h->areas));
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
		put_area(h, arena, line, end - line);
	for (size_t i = 0; i < h->n_areas; i++) {
		const Ckpt__Area *a = &h->areas[i];

		if (!a->name || strcmp(a->name, "[vdso]"))
			continue;
		h->vdso_len = a->end - a->start;
		h->vdso = ckpt_alloc(arena, h->vdso_len);
		memcpy(h->vdso, (void *)(uintptr_t)a->start, h->vdso_len);
	}
	return 0;
}

static bool taken(pid_t pid)
{
	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/* Who has died keeps its number until its parent takes note of that. */
static bool is_unreaped(pid_t pid)
{
	char path[32], text[256] = "";
	const char *end;
	CKPT_FD fd = -1;

	if (!taken(pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	end = strrchr(text, ')'); /* the name may hold anything */
	return end && (!strncmp(end, ") Z", 3) || !strncmp(end, ") X", 3));
}

void ckpt_host_await_reapers(const struct ckpt_snapshot *snap, uint64_t ns)
{
	uint64_t until = ckpt_now_ns() + ns;

	for (size_t i = 0; i < snap->n_tasks; i++)
		while (is_unreaped(snap->tasks[i]->pid) && ckpt_now_ns() < until)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* A number is busy as long as a process, a group or a session has it. */
static void probe_pids(struct ckpt_host *h, struct ckpt_arena *arena,
		       const struct ckpt_snapshot *snap)
{
	h->pid_taken = ckpt_alloc(arena, snap->n_tasks);
	ckpt_host_await_reapers(snap, REAP_NS);
	for (size_t i = 0; i < snap->n_tasks; i++) {
		const struct ckpt_task *t = snap->tasks[i];

		h->pid_taken[i] = taken(t->pid) || (t->pgid == t->pid && kill(-t->pid, 0) == 0);
		for (size_t k = 1; k < t->n_threads && !h->pid_taken[i]; k++)
			h->pid_taken[i] = taken(t->threads[k].tid);
	}
}

static uint64_t xcr0(void)
{
	uint32_t a, b, c, d, lo, hi;

	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "0"(1), "2"(0));
	if (!(c >> 27 & 1)) /* OSXSAVE */
		return 3;
	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

/* May this process choose pids? In the namespace's own user namespace it takes one of two
 * capabilities. */
static bool may_choose_pids(const struct ckpt_host *h)
{
	return ckpt_host_has_cap(h, CAP_CHECKPOINT_RESTORE) || ckpt_host_has_cap(h, CAP_SYS_ADMIN);
}

int ckpt_host_probe(struct ckpt_host **hostp, struct ckpt_arena *arena,
		    const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	struct ckpt_host *h = ckpt_new(arena, struct ckpt_host);
	int r;

	h->uid = geteuid();
	h->gid = getegid();
	probe_caps(h);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (prlimit64(0, i, NULL, &h->limits[i]) < 0)
			return ckpt_fail(err, -errno, "resource limit %d: cannot get", i);
	h->sid = getsid(0);
	h->pgid = getpgid(0);
	h->box = !may_choose_pids(h);
	h->stdin_is_tty = isatty(0);
	h->xfeatures = xcr0();
	for (int i = 0; i < CKPT_N_CLOCKS; i++)
		h->clock_ns[i] = ckpt_clock_now(i);
	h->has_time_ns = access("/proc/self/ns/time", F_OK) == 0;
	h->has_timer_restore_ids =
		prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
	r = probe_areas(h, arena, err);
	if (r >= 0)
		r = ckpt_host_probe_creds(h, arena, err);
	if (r < 0)
		return r;
	ckpt_host_probe_memory(h);
	probe_pids(h, arena, snap);
	*hostp = h;
	return 0;
}
