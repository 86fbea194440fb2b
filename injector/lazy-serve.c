/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: one thread, one event after the other. What the program does with its memory (fork,
 * mremap, madvise, munmap) waits in the kernel until its message is read, and as long as it waits
 * the kernel lets nothing be filled in (EAGAIN): the lists are always those of the memory.
 *
 * Messages are read into memory that the keeper has, too, so that one who takes over finds those
 * that were not acted on. Faults need not be found: whoever waits is woken up and asks again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "engine/capture/maps.h"
#include "injector/job.h"
#include "injector/lazy.h"

#define STEP (256u << 10) /* bytes between two looks at what is asked for */
#define AHEAD CKPT_CHUNK  /* bytes that come with a page that was asked for */
#define LOWEST 0x10000ull
#define MAPS_ROOM (64ull << 20) /* address space, of which what is used is memory */

static int list_failed(struct ckpt_err *err)
{
	return ckpt_fail(err, -ENOMEM, "no memory for the list of absent pages");
}

static void finish_mm(struct ckpt_lazy_mm *mm)
{
	if (mm->uffd >= 0)
		close(mm->uffd); /* its areas are ordinary ones again, who waits is woken up */
	mm->uffd = -1;
	ckpt_close_fd(&mm->will);
	mm->will = -1;
	ckpt_absent_free(&mm->absent);
}

bool ckpt_lazy_reserve(struct ckpt_lazy_job *l, size_t n)
{
	size_t room = l->room < n ? 2 * n : l->room;
	struct ckpt_lazy_mm *mm = room == l->room ? l->mm : realloc(l->mm, room * sizeof(*mm));
	struct pollfd *p = !mm             ? NULL :
			   room == l->room ? l->poll :
					     realloc(l->poll, (2 + room) * sizeof(*p));

	if (mm)
		l->mm = mm;
	if (!p)
		return false;
	l->poll = p;
	l->room = room;
	return true;
}

struct areas {
	struct ckpt_arena *arena; /* NULL: nothing was read */
	struct ckpt_map *v;
	size_t n;
};

/* Those of an address space. None of who has been killed, and of who was forked meanwhile, for its
 * number is not known. */
static int read_areas(const struct ckpt_lazy_job *l, size_t i, struct areas *areas,
		      struct ckpt_err *err)
{
	uint32_t task = l->mm[i].task;
	char path[32];
	int r;

	if (!task || !l->mm[i].absent.n)
		return 0;
	r = ckpt_arena_open(&areas->arena, MAPS_ROOM, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/smaps", l->job->plan->snap->tasks[task - 1]->pid);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? ckpt_fail(err, -errno, "%s", path) :
		     ckpt_maps_read(areas->arena, fd, &areas->v, &areas->n, err);
	if (r != -ENOENT && r != -ESRCH)
		return r;
	*err = (struct ckpt_err)CKPT_ERR_INIT;
	return 0;
}

/* What a child finds empty (MADV_WIPEONFORK) is not absent in it: no event tells of that advice. */
static bool drop_wiped(struct ckpt_absent *a, const struct areas *areas)
{
	for (size_t i = 0; i < areas->n; i++)
		if (areas->v[i].flags & CKPT_MAP(WF) &&
		    !ckpt_absent_drop(a, areas->v[i].start, areas->v[i].end))
			return false;
	return true;
}

static int add_child(struct ckpt_lazy_job *l, size_t parent, const struct areas *areas, int uffd,
		     struct ckpt_err *err)
{
	struct ckpt_lazy_mm *mm;

	if (!ckpt_lazy_reserve(l, l->n_mm + 1))
		return list_failed(err);
	mm = &l->mm[l->n_mm];
	*mm = (struct ckpt_lazy_mm){ .uffd = uffd, .will = -1 };
	ckpt_lazy_forked(l);
	if (!ckpt_absent_copy(&mm->absent, &l->mm[parent].absent) ||
	    !drop_wiped(&mm->absent, areas))
		return list_failed(err);
	l->n_mm++;
	return 0;
}

/* AREAS: of a process that forks. */
static int apply(struct ckpt_lazy_job *l, size_t i, const struct uffd_msg *m,
		 const struct areas *areas, struct ckpt_err *err)
{
	struct ckpt_absent *a = &l->mm[i].absent;
	bool ok = true;

	switch (m->event) {
	case UFFD_EVENT_FORK:
		return add_child(l, i, areas, m->arg.fork.ufd, err);
	case UFFD_EVENT_REMAP:
		ok = ckpt_absent_move(a, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		ok = ckpt_absent_drop(a, m->arg.remove.start, m->arg.remove.end);
		break;
	}
	return ok ? 0 : list_failed(err);
}

/* Areas are read before lists change, for that takes a while. */
static int apply_one(struct ckpt_lazy_job *l, struct uffd_msg *m, struct ckpt_err *err)
{
	struct areas areas = { 0 };
	int r = m->event == UFFD_EVENT_FORK ? read_areas(l, l->msg_mm, &areas, err) : 0;

	if (r >= 0) {
		__atomic_store_n(&l->changing, true, __ATOMIC_SEQ_CST);
		r = apply(l, l->msg_mm, m, &areas, err);
		m->event = 0;
		__atomic_store_n(&l->changing, false, __ATOMIC_SEQ_CST);
	}
	ckpt_arena_close(areas.arena);
	return r;
}

/* All events first: faults cannot be answered before. */
static int apply_events(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	for (size_t k = 0; k < CKPT_LAZY_BATCH; k++) {
		struct uffd_msg *m = &l->msg[k];
		int r;

		if (!m->event || m->event == UFFD_EVENT_PAGEFAULT)
			continue;
		r = apply_one(l, m, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* It waits; woken up, it asks again if the page is not there by then. */
static int answer(struct ckpt_lazy_job *l, size_t i, uint64_t at, struct ckpt_err *err)
{
	struct ckpt_lazy_mm *mm = &l->mm[i];
	int r = ckpt_lazy_fill(l, mm, at, CKPT_PAGE, err);

	if (err->code)
		return r;
	if (r == -EAGAIN || r == -ENOMEM) {
		if (r == -ENOMEM)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		ckpt_lazy_wake(mm, at, CKPT_PAGE);
	}
	return r == -ESRCH ? r : 0;
}

/* What is next to it is likely to be asked for. */
static int fill_ahead(struct ckpt_lazy_job *l, size_t i, uint64_t at, struct ckpt_err *err)
{
	struct ckpt_run rest;

	return ckpt_absent_find(&l->mm[i].absent, at + CKPT_PAGE, &rest) ?
		       ckpt_lazy_fill(l, &l->mm[i], rest.at, AHEAD, err) :
		       0;
}

static int answer_faults(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	int r = 0;

	for (size_t k = 0; k < CKPT_LAZY_BATCH && r >= 0; k++)
		if (l->msg[k].event == UFFD_EVENT_PAGEFAULT)
			r = answer(l, l->msg_mm, l->msg[k].arg.pagefault.address & ~(CKPT_PAGE - 1),
				   err);
	for (size_t k = 0; k < CKPT_LAZY_BATCH && r >= 0; k++)
		if (l->msg[k].event == UFFD_EVENT_PAGEFAULT) {
			r = fill_ahead(l, l->msg_mm,
				       l->msg[k].arg.pagefault.address & ~(CKPT_PAGE - 1), err);
			r = err->code || r == -ESRCH ? r : 0;
		}
	return r;
}

static void settle(struct ckpt_lazy_job *l, size_t i)
{
	__atomic_store_n(&l->changing, true, __ATOMIC_SEQ_CST);
	finish_mm(&l->mm[i]);
	__atomic_store_n(&l->changing, false, __ATOMIC_SEQ_CST);
}

/* One batch of messages of one address space. */
static int listen_to(struct ckpt_lazy_job *l, size_t i, struct ckpt_err *err)
{
	int r;

	l->msg_mm = i;
	memset(l->msg, 0, CKPT_LAZY_BATCH * sizeof(*l->msg));
	if (read(l->mm[i].uffd, l->msg, CKPT_LAZY_BATCH * sizeof(*l->msg)) <= 0)
		return 0;
	r = apply_events(l, err);
	if (r >= 0)
		r = answer_faults(l, err);
	if (r == -ESRCH && !err->code)
		settle(l, i);
	return err->code;
}

/* From the back: that is where a list is cut without moving it. */
static int fill_some(struct ckpt_lazy_job *l, size_t i, struct ckpt_err *err)
{
	struct ckpt_lazy_mm *mm = &l->mm[i];
	const struct ckpt_run *last;
	uint64_t step = STEP / CKPT_PAGE, n;
	int r;

	if (mm->uffd < 0 || !mm->absent.n)
		return 0;
	last = &mm->absent.run[mm->absent.n - 1];
	n = last->n_pages < step ? last->n_pages : step;
	r = ckpt_lazy_fill(l, mm, last->at + (last->n_pages - n) * CKPT_PAGE, n * CKPT_PAGE, err);
	if (err->code)
		return r;
	if (r == -ESRCH)
		settle(l, i);
	if (r == -ENOMEM)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	return 0;
}

/* Returns how many are left; those that are complete need us no more. */
static size_t settle_all(struct ckpt_lazy_job *l)
{
	size_t left = 0;

	for (size_t i = 0; i < l->n_mm; i++) {
		if (l->mm[i].uffd >= 0 && !l->mm[i].absent.n && l->decided)
			settle(l, i);
		left += l->mm[i].uffd >= 0;
	}
	return left;
}

/* What a server that was killed had taken and not answered. */
static int take_over(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	int r = apply_events(l, err);

	for (size_t i = 0; i < l->n_mm; i++)
		if (l->mm[i].uffd >= 0)
			ckpt_lazy_wake(&l->mm[i], LOWEST, CKPT_TASK_SIZE - LOWEST);
	return r;
}

/* How long it may wait for messages; 0: there is something to fill. */
static int patience(const struct ckpt_lazy_job *l)
{
	uint64_t now = l->decided ? ckpt_now_ns() : 0;

	return !l->decided ? -1 : now < l->from ? (int)((l->from - now) / 1000000) + 1 : 0;
}

/* Waits for messages, the end of the keeper or of the coordinator. */
static int watch(struct ckpt_lazy_job *l, int keeper)
{
	struct pollfd *p = l->poll;

	p[0] = (struct pollfd){ keeper, POLLIN, 0 };
	p[1] = (struct pollfd){ l->decided ? -1 : l->control, POLLIN, 0 };
	for (size_t i = 0; i < l->n_mm; i++)
		p[2 + i] = (struct pollfd){ l->mm[i].uffd, POLLIN, 0 };
	if (poll(p, 2 + l->n_mm, patience(l)) < 0) {
		p[0].revents = p[1].revents = 0;
		for (size_t i = 0; i < l->n_mm; i++)
			p[2 + i].revents = 0;
	}
	if (p[0].revents)
		return -EPIPE;
	if (p[1].revents && ckpt_lazy_is_over(l) && !l->decided)
		return -ECANCELED;
	return 0;
}

static int go_round(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	size_t n = l->n_mm;
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++)
		if (l->poll[2 + i].revents & POLLIN)
			r = listen_to(l, i, err);
	if (r >= 0 && !patience(l))
		r = fill_some(l, l->turn++ % n, err);
	return r;
}

enum ckpt_lazy_end ckpt_lazy_serve(struct ckpt_lazy_job *l, int keeper)
{
	int r = take_over(l, &l->err);

	while (r >= 0 && settle_all(l)) {
		ckpt_lazy_name_forked(l);
		r = watch(l, keeper);
		if (r >= 0)
			r = go_round(l, &l->err);
	}
	if (l->err.code)
		return CKPT_LAZY_FAILED;
	if (r >= 0)
		ckpt_lazy_end_will(l);
	return r == -EPIPE ? CKPT_LAZY_ORPHAN : CKPT_LAZY_DONE;
}
