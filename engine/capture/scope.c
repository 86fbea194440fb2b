/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is out of scope for a whole task: other namespaces, seccomp, and state that the kernel lets
 * tasks share or threads keep apart, which a restore would make differently.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/state.h"

#define BATCH 8        /* threads */
#define OPEN_MOST 8192 /* bytes of what is read at once */
#define AHEAD 64       /* tasks; each costs a descriptor */

void ckpt_capture_scope_ours(struct ckpt_capture *c)
{
	for (size_t i = 0; i < CKPT_N_NAMESPACES; i++) {
		char path[40];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", ckpt_namespaces[i]);
		n = readlink(path, c->our_ns[i], sizeof(c->our_ns[i]) - 1);
		c->our_ns[i][n > 0 ? n : 0] = '\0';
	}
}

/* What /proc shows of a thread that matters here. */
struct thread_look {
	pid_t tid;
	size_t n_links; /* of ckpt_namespaces: all of them for the leader */
	char link[CKPT_N_NAMESPACES][32];
	char *status;
	struct {
		char *text; /* NULL: whoever asks reads it, and says what is wrong */
		size_t len;
	} text[CKPT_N_TEXTS];
	int files, fs; /* kcmp(2) with those of the process */
	int code;
	struct ckpt_err err;
};

/* Threads of one task: the helper takes some of the batches. */
struct scope_job {
	struct ckpt_job job;
	int task_dir; /* /proc/PID/task */
	const struct ckpt_threads_ahead *ahead;
	struct ckpt_source *compares; /* NULL: only the thread that captures may have it compare */
	pid_t pid;
	struct thread_look *look;
	size_t n;
};

/* At once, out of what was opened ahead, an empty one too: of who is gone the kernel says so.
 * Whatever is in the way is found out by looking it up. */
static bool read_open(struct ckpt_arena *arena, int fd, char **textp, size_t *lenp)
{
	char buf[OPEN_MOST];
	ssize_t n = fd < 0 ? -1 : pread(fd, buf, sizeof(buf), 0);

	if (n < 0 || n == sizeof(buf))
		return false;
	*textp = memcpy(ckpt_alloc(arena, n + 1), buf, n);
	*lenp = n;
	return true;
}

static void read_texts(const struct scope_job *job, struct thread_look *t,
		       const struct ckpt_thread_ahead *ahead, struct ckpt_arena *arena)
{
	for (size_t i = 0; i < CKPT_N_TEXTS; i++) {
		struct ckpt_err ignored = CKPT_ERR_INIT;
		char name[32], *text;
		size_t len;

		if (ahead && read_open(arena, ahead->text[i], &t->text[i].text, &t->text[i].len))
			continue;
		snprintf(name, sizeof(name), "../%s", ckpt_texts_ahead[i]);
		CKPT_FD fd = openat(job->task_dir, name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || ckpt_read_all(arena, fd, &text, &len, &ignored) < 0)
			continue;
		t->text[i].text = text;
		t->text[i].len = len;
	}
}

static int read_ns(const struct scope_job *job, struct thread_look *t,
		   const struct ckpt_thread_ahead *ahead, size_t i)
{
	size_t size = sizeof(t->link[i]) - 1;
	ssize_t n = ahead ? readlinkat(ahead->ns[i], "", t->link[i], size) : -1;
	char name[48];

	if (n >= 0)
		return n;
	snprintf(name, sizeof(name), "%d/ns/%s", t->tid, ckpt_namespaces[i]);
	n = readlinkat(job->task_dir, name, t->link[i], size);
	/* Linux shows no pid_for_children of a process that unshared it and has not forked yet. */
	if (n < 0 && errno == ENOENT)
		n = snprintf(t->link[i], size, "?");
	return n < 0 ? -errno : n;
}

static int look_at(const struct scope_job *job, struct thread_look *t,
		   const struct ckpt_thread_ahead *ahead, struct ckpt_arena *arena)
{
	char name[48];
	size_t len;

	for (size_t i = 0; i < t->n_links; i++) {
		int n = read_ns(job, t, ahead, i);

		if (n < 0)
			return ckpt_fail(&t->err, n, "namespaces: cannot read");
		t->link[i][n] = '\0';
	}
	if (ahead && read_open(arena, ahead->status, &t->status, &len))
		return 0;
	snprintf(name, sizeof(name), "%d/status", t->tid);
	CKPT_FD fd = openat(job->task_dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ckpt_fail(&t->err, -errno, "status: cannot open");
	return ckpt_in(&t->err, ckpt_read_all(arena, fd, &t->status, NULL, &t->err), "status");
}

static void compare(struct ckpt_source *src, pid_t pid, struct thread_look *t)
{
	t->files = src->ops->compare(src, pid, t->tid, KCMP_FILES, 0, 0);
	t->fs = src->ops->compare(src, pid, t->tid, KCMP_FS, 0, 0);
}

static void run(struct ckpt_job *base, struct ckpt_arena *arena)
{
	struct scope_job *job = (struct scope_job *)base;

	for (size_t i = 0; i < job->n; i++) {
		struct thread_look *t = &job->look[i];
		const struct ckpt_thread_ahead *ahead = ckpt_threads_ahead_find(job->ahead, t->tid);

		t->code = look_at(job, t, ahead, arena);
		if (t->n_links == CKPT_N_NAMESPACES)
			read_texts(job, t, ahead, arena);
		else if (job->compares)
			compare(job->compares, job->pid, t);
	}
}

static bool tid_in_tree(const struct ckpt_capture *c, uint64_t tid)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		for (size_t j = 0; j < c->tasks[i].frozen->n_tids; j++) {
			if ((uint64_t)c->tasks[i].frozen->tids[j] == tid)
				return true;
		}
	}
	return false;
}

static int lift_seccomp(struct ckpt_capture *c, const struct thread_look *t, struct ckpt_err *err)
{
	const struct ckpt_filter *filter;
	size_t n;

	if (ckpt_status_u64(t->status, "Seccomp") == SECCOMP_MODE_STRICT)
		return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM,
				   "it runs in the strict mode of seccomp");
	if (!c->src->ops->seccomp)
		return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM, "it runs under a seccomp filter");
	return c->src->ops->seccomp(c->src, t->tid, &filter, &n, err);
}

static void judge_seccomp(struct ckpt_capture *c, const struct thread_look *t, const char *subject)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	int r = lift_seccomp(c, t, &err);

	if (r >= 0)
		return;
	ckpt_in(&err, r, "%s", subject);
	ckpt_problem_add_err(c->problems, &err);
	ckpt_must_not_call(c, t->tid);
}

/* Clocks of its own are taken along, those of a part of the tree are not. */
static void judge_clocks(struct ckpt_capture *c, const struct thread_look *t, const char *subject)
{
	const char *own = t->link[CKPT_NS_TIME];

	if (!c->our_ns[CKPT_NS_TIME][0] || t->n_links <= CKPT_NS_TIME)
		return;
	if (!c->time_ns[0])
		strcpy(c->time_ns, own);
	if (strcmp(own, c->time_ns) || strcmp(own, t->link[CKPT_NS_TIME + 1]))
		ckpt_problem_add(c->problems, CKPT_E_NAMESPACE,
				 "%s: it, or what it forks, is in another time namespace than the "
				 "rest of the tree",
				 subject);
}

/* SUBJECT is the process, or its thread. */
static void judge(struct ckpt_capture *c, const struct thread_look *t, const char *subject)
{
	uint64_t tracer = ckpt_status_u64(t->status, "TracerPid");

	judge_clocks(c, t, subject);
	for (size_t i = 0; i < t->n_links && i < CKPT_NS_TIME; i++) {
		if (c->our_ns[i][0] && strcmp(t->link[i], c->our_ns[i]))
			ckpt_problem_add(c->problems, CKPT_E_NAMESPACE,
					 "%s: it is in another %s namespace", subject,
					 ckpt_namespaces[i]);
	}
	if (ckpt_status_u64(t->status, "Seccomp"))
		judge_seccomp(c, t, subject);
	else if (c->src->ops->unfiltered)
		c->src->ops->unfiltered(c->src, t->tid);
	if (tracer && tid_in_tree(c, tracer))
		ckpt_problem_add(c->problems, CKPT_E_TRACED,
				 "%s: it is traced by %d of the same tree", subject, (int)tracer);
}

/* Threads of one process share descriptors and folders, unless one of them called unshare(2). */
static void check_thread(struct ckpt_capture *c, struct ckpt_capture_task *t,
			 const struct thread_look *look)
{
	pid_t tid = look->tid;

	if (look->files > 0)
		ckpt_problem_add(c->problems, CKPT_E_SHARED_STATE,
				 "%s: thread %d has descriptors of its own", t->who, tid);
	if (look->fs <= 0)
		return;
	for (size_t i = 0; i < t->n_apart; i++)
		if (c->src->ops->compare(c->src, t->apart[i], tid, KCMP_FS, 0, 0) == 0)
			ckpt_problem_add(c->problems, CKPT_E_SHARED_STATE,
					 "%s: threads %d and %d share a working directory that is "
					 "not that of the process",
					 t->who, t->apart[i], tid);
	t->apart = ckpt_capture_grow(c->arena, t->apart, t->n_apart, &t->apart_room,
				     sizeof(t->apart[0]));
	t->apart[t->n_apart++] = tid;
}

/* The batches of one task, judged in order. */
struct ckpt_scope_jobs {
	int task_dir;
	struct scope_job *job;
	size_t n_jobs, n_judged;
	int code; /* of opening the folder */
	struct ckpt_err err;
};

static int judge_batch(struct ckpt_capture *c, struct ckpt_capture_task *t,
		       const struct scope_job *job, struct ckpt_err *err)
{
	for (size_t i = 0; i < job->n; i++) {
		struct thread_look *look = &job->look[i];
		bool is_leader = look->tid == t->frozen->pid;
		char subject[80];

		snprintf(subject, sizeof(subject), is_leader ? "%s" : "%s: thread %d", t->who,
			 look->tid);
		if (look->code < 0) {
			*err = look->err;
			return ckpt_in(err, look->code, "%s", subject);
		}
		ckpt_status_keep(c, look->tid, look->status);
		judge(c, look, subject);
		if (is_leader)
			continue;
		if (!job->compares)
			compare(c->src, t->frozen->pid, look);
		check_thread(c, t, look);
	}
	return 0;
}

static void start_job(struct ckpt_capture *c, const struct ckpt_capture_task *t, size_t i)
{
	const struct ckpt_frozen *f = t->frozen;
	struct scope_job *job = &t->scope->job[i];
	size_t from = i * BATCH;

	job->job.run = run;
	job->task_dir = t->scope->task_dir;
	job->ahead = ckpt_helper_threads(c->helper);
	job->compares = c->src->ops->compares_anywhere ? c->src : NULL;
	job->pid = f->pid;
	job->n = f->n_tids - from < BATCH ? f->n_tids - from : BATCH;
	job->look = ckpt_alloc(c->arena, job->n * sizeof(job->look[0]));
	for (size_t k = 0; k < job->n; k++) {
		job->look[k].tid = f->tids[from + k];
		job->look[k].n_links = from + k ? CKPT_N_OF_THREAD : CKPT_N_NAMESPACES;
	}
	ckpt_helper_start(c->helper, &job->job);
}

static void start_task(struct ckpt_capture *c, struct ckpt_capture_task *t)
{
	struct ckpt_scope_jobs *s = t->scope = ckpt_new(c->arena, struct ckpt_scope_jobs);

	s->task_dir = s->code = c->src->ops->open_proc(c->src, t->frozen->pid, "task", &s->err);
	if (s->task_dir < 0)
		return;
	s->n_jobs = (t->frozen->n_tids + BATCH - 1) / BATCH;
	s->job = ckpt_alloc(c->arena, s->n_jobs * sizeof(s->job[0]));
	for (size_t i = 0; i < s->n_jobs; i++)
		start_job(c, t, i);
}

void ckpt_capture_scope_start(struct ckpt_capture *c, size_t i)
{
	for (; c->n_scopes_started < i + AHEAD && c->n_scopes_started < c->n_tasks;
	     c->n_scopes_started++) {
		if (!c->tasks[c->n_scopes_started].frozen->zombie)
			start_task(c, &c->tasks[c->n_scopes_started]);
	}
}

int ckpt_capture_scope_thread(struct ckpt_capture *c, struct ckpt_capture_task *t, size_t i,
			      struct ckpt_err *err)
{
	struct ckpt_scope_jobs *s = t->scope;

	if (s->code < 0) {
		*err = s->err;
		return ckpt_in(err, s->code, "%s", t->who);
	}
	while (s->n_judged <= i / BATCH) {
		struct scope_job *job = &s->job[s->n_judged++];
		int r;

		ckpt_helper_wait(c->helper, &job->job);
		r = judge_batch(c, t, job, err);
		if (r < 0)
			return r;
	}
	if (s->n_judged == s->n_jobs) {
		ckpt_close_fd(&s->task_dir);
		s->task_dir = -1;
	}
	return 0;
}

int ckpt_capture_scope_by_now(struct ckpt_capture *c, struct ckpt_capture_task *t, size_t i,
			      struct ckpt_err *err)
{
	struct ckpt_scope_jobs *s = t->scope;
	int r = 0;

	if (!s || s->code < 0)
		return 0;
	while (r >= 0 && s->n_judged <= i / BATCH) {
		if (!ckpt_helper_has_done(c->helper, &s->job[s->n_judged].job))
			return 0;
		r = ckpt_capture_scope_thread(c, t, s->n_judged * BATCH, err);
	}
	return r < 0 ? r : 1;
}

const char *ckpt_capture_read_ahead(const struct ckpt_capture *c, pid_t pid, const char *name,
				    size_t *lenp)
{
	const struct ckpt_capture_task *t = c->tasks, *end = t + c->n_tasks;
	const struct ckpt_scope_jobs *s;

	while (t < end && t->frozen->pid != pid)
		t++;
	if (t == end)
		return NULL;
	/* Read once more it would have the calls of that process begin anew: they show in it. */
	if (!strcmp(name, "stat") && t->stat_text) {
		*lenp = strlen(t->stat_text);
		return t->stat_text;
	}
	s = t->scope;
	for (size_t i = 0; s && s->n_judged && i < CKPT_N_TEXTS; i++) {
		if (strcmp(ckpt_texts_ahead[i], name))
			continue;
		*lenp = s->job[0].look[0].text[i].len;
		return s->job[0].look[0].text[i].text;
	}
	return NULL;
}

void ckpt_capture_scope_end(struct ckpt_capture *c)
{
	for (size_t i = 0; i < c->n_scopes_started; i++) {
		if (c->tasks[i].scope)
			ckpt_close_fd(&c->tasks[i].scope->task_dir);
	}
}

struct sharing {
	int type; /* KCMP_ */
	const char *what;
	uint32_t flag; /* for clone(2), by which a child can have it in common with its parent; 0:
			  it cannot be restored */
};

/* T has it in common with OTHER. */
static void found_shared(struct ckpt_capture *c, const struct ckpt_capture_task *t,
			 const struct ckpt_capture_task *other, const struct sharing *s)
{
	const struct ckpt_task *task = t->task;

	if (s->flag && task->parent &&
	    c->src->ops->compare(c->src, task->pid, c->snap->tasks[task->parent - 1]->pid, s->type,
				 0, 0) == 0)
		t->task->shares |= s->flag;
	else
		ckpt_problem_add(c->problems, CKPT_E_SHARED_STATE, "%s: it shares its %s with %s",
				 t->who, s->what, other->who);
}

/* Sorted into OTHER by the order of kcmp(2): whoever is equal to one that is there shares it. */
static int check_shared(struct ckpt_capture *c, const struct sharing *s, struct ckpt_err *err)
{
	const struct ckpt_capture_task **other = ckpt_alloc(c->arena, c->n_tasks * sizeof(*other));
	size_t n = 0;

	for (size_t i = 0; i < c->n_tasks; i++) {
		const struct ckpt_capture_task *t = &c->tasks[i];
		size_t low = 0, high = n;
		int order = 1;

		if (t->frozen->zombie)
			continue;
		while (low < high && order) {
			size_t mid = (low + high) / 2;

			order = c->src->ops->compare(c->src, t->frozen->pid,
						     other[mid]->frozen->pid, s->type, 0, 0);
			if (order < 0)
				return ckpt_fail(err, order, "%s: cannot compare with process %d",
						 t->who, other[mid]->frozen->pid);
			if (!order)
				found_shared(c, t, other[mid], s);
			else if (order == 1)
				high = mid;
			else
				low = mid + 1;
		}
		if (!order)
			continue;
		memmove(other + low + 1, other + low, (n - low) * sizeof(*other));
		other[low] = t;
		n++;
	}
	return 0;
}

/* Signal handlers are shared by those only that share memory: clone(2) insists, execve(2) ends
 * both. */
int ckpt_capture_shared(struct ckpt_capture *c, struct ckpt_err *err)
{
	static const struct sharing shared[] = {
		{ KCMP_VM, "memory", 0 },
		{ KCMP_FILES, "descriptors", CLONE_FILES },
		{ KCMP_FS, "working directory", CLONE_FS },
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && c->n_tasks > 1 && i < sizeof(shared) / sizeof(shared[0]); i++)
		r = check_shared(c, &shared[i], err);
	return r;
}
