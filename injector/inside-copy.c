/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of processes, made by themselves, so that they need not wait until their memory is
 * written. A fork does not take over everything: what it clears or leaves out is found before the
 * stop and told to the process, which keeps it for that moment; where a copy would not be the whole
 * truth (locked memory, shared memory, deleted files) there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/capture/maps.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"

#define KEPT_MAX (CKPT_WIRE_DATA / sizeof(struct ckpt_wire_kept))
#define READY_MS 5000
#define LEAVE_MS 100
#define WAKE_NS 100000
#define WAKE_MAX_NS 3000000

static int open_own(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int read_maps(struct ckpt_inside *in, pid_t pid, struct ckpt_map **mapp, size_t *np)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	CKPT_FD fd = open_own(pid, "smaps");

	return fd < 0 ? -errno : ckpt_maps_read(in->arena, fd, mapp, np, &ignored);
}

static int advice_of(const struct ckpt_map *map)
{
	return map->flags & CKPT_MAP(DC) ? MADV_DONTFORK :
	       map->flags & CKPT_MAP(WF) ? MADV_WIPEONFORK :
					   -1;
}

/* Memory that others change as well, a file that only this mapping still has, what no fork takes
 * over. */
static bool must_wait(const struct ckpt_map *map)
{
	bool device = map->flags & (CKPT_MAP(IO) | CKPT_MAP(PF));

	return strstr(map->name, " (deleted)") ||
	       (map->shared && map->prot & PROT_WRITE && !strchr(map->name, '/')) ||
	       (device && advice_of(map) >= 0);
}

void ckpt_inside_copy_ahead(struct ckpt_inside *in, struct ckpt_member *m)
{
	struct ckpt_map *map;
	size_t n;

	if (read_maps(in, m->acts, &map, &n) < 0)
		return;
	m->looked_at = true;
	m->must_wait = false;
	m->n_kept = 0;
	m->kept = ckpt_alloc(in->arena, KEPT_MAX * sizeof(*m->kept));
	for (size_t i = 0; i < n && !m->must_wait; i++) {
		int advice = advice_of(&map[i]);

		m->must_wait = must_wait(&map[i]) || m->n_kept == KEPT_MAX;
		if (advice >= 0 && !m->must_wait)
			m->kept[m->n_kept++] = (struct ckpt_wire_kept){ map[i].start,
									map[i].end - map[i].start,
									advice, 0 };
	}
}

/* ---- copying ---- */

/* What a fork leaves out is missing here. Asked while they stand, since it takes no longer for
 * more memory or areas. */
static bool read_size(pid_t pid, uint64_t *sizep, bool *lockedp, char ids[CKPT_IDS])
{
	char status[8192], *at;

	if (ckpt_proc_read(pid, "status", status, sizeof(status)) <= 0)
		return false;
	at = strstr(status, "\nUid:");
	snprintf(ids, CKPT_IDS, "%.*s", at ? (int)strcspn(at + 1, "\n") : 0, at ? at + 1 : "");
	*sizep = ckpt_status_number(status, "VmSize", 10);
	*lockedp = ckpt_status_number(status, "VmLck", 10) != 0;
	return true;
}

static bool can_be_copied(struct ckpt_inside *in, struct ckpt_member *m)
{
	if (!m->looked_at) /* the kernel showed nothing of it before, or it was not known */
		ckpt_inside_copy_ahead(in, m);
	return m->looked_at && !m->must_wait;
}

/* The next of those who stand, from M on. */
static struct ckpt_member *next_parked(struct ckpt_member *m)
{
	while (m && m->state != CKPT_MEMBER_PARKED)
		m = m->next;
	return m;
}

int ckpt_inside_copy_order(struct ckpt_inside *in, struct ckpt_err *err)
{
	struct ckpt_member *first = next_parked(in->members), *m;
	bool yes = in->opts.snapshot && !in->n_held;
	int r = 0;

	for (m = first; yes && m; m = next_parked(m->next))
		yes = can_be_copied(in, m);
	for (m = first; yes && r >= 0 && m; m = next_parked(m->next)) {
		const struct ckpt_wire_request req = { .verb = CKPT_WIRE_FORK,
						       .buf_arg = -1,
						       .len = m->n_kept * sizeof(*m->kept) };

		r = ckpt_inside_send(m, &req, m->kept, err);
		m->copy_ordered = r >= 0;
	}
	return r;
}

int ckpt_inside_copy_take(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	int64_t r;

	if (!m->copy_ordered)
		return 0;
	m->copy_ordered = false;
	r = ckpt_inside_receive(in, m, &m->copy_sock, err);
	if (r == -ECONNRESET)
		return r;
	m->copy_made = r < 0 ? 0 : r;
	return m->copy_made && m->copy_sock < 0 ?
		       ckpt_fail(err, -ESTALE, "process %d: its copy is out of reach", m->pid) :
		       0;
}

int ckpt_inside_copied(struct ckpt_inside *in, struct ckpt_err *err)
{
	struct ckpt_member *m = next_parked(in->members);
	bool all = m, locked;
	int r = 0;

	pthread_mutex_lock(&in->lock);
	for (; r >= 0 && m; m = next_parked(m->next)) {
		r = ckpt_inside_copy_take(in, m, err);
		all &= m->copy_made && read_size(m->acts, &m->vm_size, &locked, m->ids) && !locked;
	}
	pthread_mutex_unlock(&in->lock);
	for (m = in->members; !all && m; m = m->next)
		ckpt_inside_copy_end(m);
	return r < 0 ? r : all;
}

/*
 * Who has woken us is often put behind us where we run, and who goes on is on its way by then: the
 * process that has made the copy has yet to end, whoever leads wakes the others. They would wait
 * for the end of our time slice, and who has had its share is not helped by sched_yield(2). So we
 * sleep until all have left, and as long as it takes them to wake their threads.
 */
static void let_wake(const struct ckpt_inside *in)
{
	uint64_t end = ckpt_now_ns() + LEAVE_MS * 1000000ull, now, ns = WAKE_NS;
	struct timespec moment = { 0 };

	for (const struct ckpt_member *m = in->members; m; m = m->next) {
		struct pollfd p = { m->sock, 0, 0 };

		now = ckpt_now_ns();
		if (m->sock >= 0 && now < end)
			poll(&p, 1, (end - now) / 1000000);
		ns += m->n_tids * WAKE_NS / 10;
	}
	moment.tv_nsec = ns < WAKE_MAX_NS ? ns : WAKE_MAX_NS;
	nanosleep(&moment, NULL);
}

/* Not one of them may go on before there are copies of all. */
void ckpt_inside_copy_go(struct ckpt_inside *in)
{
	for (struct ckpt_member *m = in->members; m; m = m->next) {
		m->copy = m->copy_made;
		ckpt_inside_tell_go(m, true, "");
	}
	let_wake(in);
	for (struct ckpt_member *m = in->members; m; m = m->next) {
		ckpt_close_fd(&m->sock);
		m->sock = -1;
	}
}

/* ---- when they go on ---- */

static int check_ready(struct ckpt_member *m, struct ckpt_err *err)
{
	struct pollfd p = { m->copy_sock, POLLIN, 0 };
	char byte, ids[CKPT_IDS];
	uint64_t size;
	bool locked;

	if (poll(&p, 1, READY_MS) <= 0 || read(m->copy_sock, &byte, 1) != 1)
		return ckpt_fail(err, -ESTALE, "process %d: its copy does not get ready", m->pid);
	m->copy_mem = open_own(m->copy, "mem");
	/* The number is what the program says: nobody else's memory may be read by it. */
	if (m->copy_mem < 0 || !read_size(m->copy, &size, &locked, ids) || strcmp(ids, m->ids))
		return ckpt_fail(err, -ESTALE, "process %d: its copy cannot be read", m->pid);
	if (size != m->vm_size)
		return ckpt_fail(err, -ESTALE, "process %d: its copy lacks memory", m->pid);
	return 0;
}

static bool was_told(const struct ckpt_member *m, const struct ckpt_map *map)
{
	for (uint64_t at = map->start; at < map->end;) {
		size_t i = 0;

		while (i < m->n_kept && at - m->kept[i].start >= m->kept[i].len)
			i++;
		if (i == m->n_kept)
			return false;
		at = m->kept[i].start + m->kept[i].len;
	}
	return true;
}

static int check_areas(struct ckpt_inside *in, const struct ckpt_member *m, struct ckpt_err *err)
{
	struct ckpt_map *map;
	size_t n;

	if (read_maps(in, m->copy, &map, &n) < 0)
		return ckpt_fail(err, -ESTALE, "process %d: its copy has ended", m->pid);
	for (size_t i = 0; i < n; i++) {
		if (map[i].flags & CKPT_MAP(WF) && !was_told(m, &map[i]))
			return ckpt_fail(err, -ESTALE, "process %d: memory was cleared in its copy",
					 m->pid);
		if (must_wait(&map[i]))
			return ckpt_fail(err, -ESTALE, "process %d: memory of its copy can change",
					 m->pid);
	}
	return 0;
}

int ckpt_inside_copy_check(struct ckpt_inside *in, struct ckpt_err *err)
{
	for (struct ckpt_member *m = in->members; m; m = m->next) {
		int r = m->copy ? check_ready(m, err) : 0;

		if (r >= 0 && m->copy)
			r = check_areas(in, m, err);
		if (r < 0)
			return r;
	}
	return 1;
}

void ckpt_inside_copy_end(struct ckpt_member *m)
{
	ckpt_close_fd(&m->copy_sock);
	ckpt_close_fd(&m->copy_mem);
	m->copy_sock = m->copy_mem = -1;
	m->copy_made = m->copy = 0;
}
