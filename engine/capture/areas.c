/* SPDX-License-Identifier: Apache-2.0 */
/* Address spaces: each area of smaps becomes one of the image, or is refused by name. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/numa.h"
#include "engine/capture/state.h"
#include "engine/memory/live.h"

#define AHEAD 128 /* tasks; each costs a descriptor */

struct ckpt_maps_job {
	struct ckpt_job job;
	int fd;
	struct ckpt_map *map;
	size_t n;
	int code;
	struct ckpt_err err;
};

static bool starts_with(const char *s, const char *head)
{
	return !strncmp(s, head, strlen(head));
}

/* The kernel's own: the vDSO and its data. */
static bool is_vdso(const char *name)
{
	return !strcmp(name, "[vdso]") || starts_with(name, "[vvar");
}

static const char faults_away[] = "its page faults go to a userfaultfd";

/* Why an area cannot be dumped, NULL if it can. TRACKED: by us, which shows. */
static const char *refusal(const struct ckpt_map *m, bool tracked)
{
	static const struct {
		uint64_t flags;
		const char *why;
	} by_flag[] = {
		{ CKPT_MAP(UM) | CKPT_MAP(UW) | CKPT_MAP(UI), faults_away },
		{ CKPT_MAP(SS), "a shadow stack cannot be dumped" },
		{ CKPT_MAP(SF), "its stores wait for the device (MAP_SYNC)" },
		{ CKPT_MAP(PF) | CKPT_MAP(IO), "memory of a device cannot be dumped" },
	};
	static const struct {
		const char *name, *why;
	} by_name[] = {
		{ "[uprobes]", "a probe of a tracer is active" },
		{ "/secretmem", "memory of memfd_secret(2) cannot be read" },
		{ "anon_inode:", "this kind of file cannot be dumped" },
	};

	for (size_t i = 0; i < sizeof(by_name) / sizeof(by_name[0]); i++) {
		if (starts_with(m->name, by_name[i].name))
			return by_name[i].why;
	}
	for (size_t i = 0; i < sizeof(by_flag) / sizeof(by_flag[0]); i++) {
		if (m->flags & by_flag[i].flags & ~(tracked ? CKPT_MAP(UW) : 0))
			return by_flag[i].why;
	}
	/* That of memory which can only be executed is the kernel's own choice. */
	if (m->pkey && m->prot != PROT_EXEC)
		return "it has a protection key (pkey_mprotect(2))";
	if (m->flags & CKPT_MAP(HT) && starts_with(m->name, "/SYSV"))
		return "System V shared memory of huge pages cannot be dumped";
	if (m->ino && m->name[0] != '/' && !starts_with(m->name, "[anon_shmem:"))
		return "this kind of file cannot be dumped";
	return NULL;
}

static uint32_t area_flags(const struct ckpt_map *m)
{
	static const struct {
		uint64_t map;
		uint32_t area;
	} pairs[] = {
		{ CKPT_MAP(GD), CKPT__AREA__FLAG__GROWS_DOWN },
		{ CKPT_MAP(NR), CKPT__AREA__FLAG__NO_RESERVE },
		{ CKPT_MAP(LO), CKPT__AREA__FLAG__LOCKED },
		{ CKPT_MAP(LF), CKPT__AREA__FLAG__LOCK_ON_FAULT },
		{ CKPT_MAP(DC), CKPT__AREA__FLAG__DONT_FORK },
		{ CKPT_MAP(DD), CKPT__AREA__FLAG__DONT_DUMP },
		{ CKPT_MAP(WF), CKPT__AREA__FLAG__WIPE_ON_FORK },
		{ CKPT_MAP(HG), CKPT__AREA__FLAG__HUGE },
		{ CKPT_MAP(NH), CKPT__AREA__FLAG__NO_HUGE },
		{ CKPT_MAP(MG), CKPT__AREA__FLAG__MERGEABLE },
		{ CKPT_MAP(SR), CKPT__AREA__FLAG__SEQUENTIAL },
		{ CKPT_MAP(RR), CKPT__AREA__FLAG__RANDOM },
		{ CKPT_MAP(DP), CKPT__AREA__FLAG__DROPPABLE },
		{ CKPT_MAP(SL), CKPT__AREA__FLAG__SEALED },
	};
	uint32_t flags = 0;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		flags |= m->flags & pairs[i].map ? pairs[i].area : 0;
	return flags;
}

/* Behind it is a file of the kernel's, but of that mapping alone. */
static bool is_huge_anon(const struct ckpt_map *m)
{
	return m->flags & CKPT_MAP(HT) && !m->shared && starts_with(m->name, "/anon_hugepage");
}

static bool is_file(const struct ckpt_map *m)
{
	return !is_huge_anon(m) && (m->ino || m->name[0] == '/');
}

/* The file is taken even if the area is refused: both may be worth a problem. */
static int fill_file(struct ckpt_capture *c, struct ckpt_capture_task *t, const struct ckpt_map *m,
		     Ckpt__Area *area, struct ckpt_err *err)
{
	struct ckpt_capture_file *f;
	int r = ckpt_capture_mapped(c, t, m, &f, err);

	if (r < 0)
		return r;
	area->has_offset = area->has_file = true;
	area->offset = m->offset;
	area->file = f ? f->obj->id : 0;
	if (m->shared && m->flags & CKPT_MAP(MW))
		area->flags |= CKPT__AREA__FLAG__WRITABLE_LATER;
	if (f && f->obj->kind->map && m->shared)
		area->flags |= CKPT__AREA__FLAG__SHARED_ANON;
	return 0;
}

static bool is_shared_memory(const Ckpt__Area *area)
{
	return area->flags & CKPT__AREA__FLAG__SHARED_ANON;
}

static int fill_area(struct ckpt_capture *c, struct ckpt_capture_task *t, const struct ckpt_map *m,
		     Ckpt__Area *area, struct ckpt_err *err)
{
	bool vdso = is_vdso(m->name);
	bool tracked = c->opts->held || ckpt_live_track(c->opts->live, t->frozen->pid);
	const char *why = vdso ? NULL : refusal(m, tracked);
	int r = 0;

	ckpt__area__init(area);
	area->start = m->start;
	area->end = m->end;
	area->prot = m->prot;
	area->shared = m->shared;
	area->flags = area_flags(m) | (vdso ? CKPT__AREA__FLAG__VDSO : 0);
	if (why)
		ckpt_problem_add(c->problems,
				 why == faults_away ? CKPT_E_AREA_FAULTS : CKPT_E_AREA_KIND,
				 "%s: area %llx-%llx%s%s: %s", t->who, (unsigned long long)m->start,
				 (unsigned long long)m->end, *m->name ? " of " : "", m->name, why);
	else if (starts_with(m->name, "/[aio]"))
		r = ckpt_capture_ring(c, t, area, err);
	else if (!vdso && is_file(m))
		r = fill_file(c, t, m, area, err);
	if (m->unknown[0])
		ckpt_capture_lost(c, "%s: area %llx-%llx: a setting of it (\"%s\") is not known",
				  t->who, (unsigned long long)m->start, (unsigned long long)m->end,
				  m->unknown);
	area->has_flags = area->flags != 0;
	area->has_huge_shift = m->flags & CKPT_MAP(HT) &&
			       (is_huge_anon(m) || is_shared_memory(area));
	if (area->has_huge_shift)
		area->huge_shift = __builtin_ctzll((uint64_t)m->page_kb << 10);
	if (m->name[0] == '[')
		area->name = ckpt_strdup(c->arena, m->name);
	return r;
}

static int fill_auxv(struct ckpt_capture *c, struct ckpt_capture_task *t, Ckpt__Mm *mm,
		     struct ckpt_err *err)
{
	struct ckpt_collect cc = ckpt_collect_of(c, t->frozen->pid, t->frozen->pid);
	char *text = NULL;
	int r = ckpt_proc_text(&cc, "auxv", &text, &mm->auxv.len, err);

	mm->auxv.data = (uint8_t *)text;
	return r;
}

static void read_maps(struct ckpt_job *base, struct ckpt_arena *arena)
{
	struct ckpt_maps_job *job = (struct ckpt_maps_job *)base;

	job->code = ckpt_maps_read(arena, job->fd, &job->map, &job->n, &job->err);
}

/* What was read of it before the freeze. */
static bool know_maps(const struct ckpt_capture *c, const struct ckpt_capture_task *t,
		      struct ckpt_maps_job *job)
{
	const struct ckpt_frozen *f = t->frozen;
	const struct ckpt_maps_before *before = ckpt_helper_maps(c->helper, f->pid);

	if (!before || !before->still_true(before, c->src, f->tids, f->n_tids))
		return false;
	job->fd = -1;
	job->map = before->map;
	job->n = before->n;
	ckpt_logf(c->opts->log, 4, "%s: its areas are known already", t->who);
	return true;
}

static void start_maps(struct ckpt_capture *c, struct ckpt_capture_task *t)
{
	struct ckpt_maps_job *job = t->maps = ckpt_new(c->arena, struct ckpt_maps_job);

	ckpt_numa_start(c, t);
	if (know_maps(c, t, job))
		return;
	job->job.run = read_maps;
	job->fd = c->src->ops->open_proc(c->src, t->frozen->pid, "smaps", &job->err);
	job->code = job->fd;
	if (job->fd >= 0)
		ckpt_helper_start(c->helper, &job->job);
}

static void start_until(struct ckpt_capture *c, size_t end)
{
	for (; c->n_maps_started < end && c->n_maps_started < c->n_tasks; c->n_maps_started++) {
		if (!c->tasks[c->n_maps_started].frozen->zombie)
			start_maps(c, &c->tasks[c->n_maps_started]);
	}
}

void ckpt_capture_areas_ahead(struct ckpt_capture *c)
{
	start_until(c, AHEAD);
}

void ckpt_capture_areas_end(struct ckpt_capture *c)
{
	for (size_t i = 0; i < c->n_maps_started; i++) {
		struct ckpt_maps_job *job = c->tasks[i].maps;

		if (job)
			ckpt_close_fd(&job->fd);
		ckpt_numa_end(&c->tasks[i]);
	}
}

/* Where a page may be one that another process has too: reading it in the usual way would take it
 * apart. */
static void note_shared(struct ckpt_capture *c, struct ckpt_capture_task *t,
			const struct ckpt_map *m)
{
	if (m->shared || !m->shared_kb)
		return;
	t->shared = ckpt_capture_grow(c->arena, t->shared, t->n_shared, &t->shared_room,
				      sizeof(t->shared[0]));
	t->shared[t->n_shared++] = (struct ckpt_span){ m->start, m->end };
}

static int fill_areas(struct ckpt_capture *c, struct ckpt_capture_task *t, Ckpt__Mm *mm,
		      struct ckpt_err *err)
{
	const struct ckpt_maps_job *maps = t->maps;
	Ckpt__Area *area = ckpt_alloc(c->arena, maps->n * sizeof(*area));

	mm->areas = ckpt_alloc(c->arena, maps->n * sizeof(mm->areas[0]));
	for (size_t i = 0; i < maps->n; i++) {
		int r;

		/* The same page for everybody, above all addresses of programs. */
		if (!strcmp(maps->map[i].name, "[vsyscall]"))
			continue;
		mm->areas[mm->n_areas] = &area[mm->n_areas];
		r = fill_area(c, t, &maps->map[i], &area[mm->n_areas], err);
		if (r < 0)
			return r;
		mm->n_areas++;
		note_shared(c, t, &maps->map[i]);
	}
	return 0;
}

static int task_areas(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	Ckpt__Mm *mm = t->task->mm;
	struct ckpt_capture_file *exe = NULL;
	int r = fill_auxv(c, t, mm, err);

	if (r >= 0)
		r = ckpt_capture_exe(c, t, &exe, err);
	if (r < 0)
		return r;
	mm->exe = exe ? exe->obj->id : 0;
	if (t->maps->fd >= 0)
		ckpt_helper_wait(c->helper, &t->maps->job);
	ckpt_close_fd(&t->maps->fd);
	t->maps->fd = -1;
	if (t->maps->code < 0) {
		*err = t->maps->err;
		return t->maps->code;
	}
	/* There is nobody left to ask behind a snapshot: then it was asked before. */
	if (!c->src->ops->snapshot && ckpt_may_call(c, t->frozen->tids[0])) {
		r = ckpt_capture_problem(c, ckpt_capture_future_locks(c, t, err), err);
		if (r < 0)
			return r;
	}
	r = fill_areas(c, t, mm, err);
	return r < 0 ? r : ckpt_numa_take(c, t, err);
}

int ckpt_capture_areas(struct ckpt_capture *c, struct ckpt_err *err)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct ckpt_capture_task *t = &c->tasks[i];
		int r = 0;

		start_until(c, i + AHEAD);
		if (!t->frozen->zombie)
			r = ckpt_in(err, task_areas(c, t, err), "%s", t->who);
		if (r >= 0)
			r = ckpt_capture_go_on(c, err);
		if (r < 0)
			return r;
	}
	return 0;
}
