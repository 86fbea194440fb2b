/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator: reads the image, plans, has everything built, checks the pages meanwhile,
 * commits, and takes everything back on failure. Where pids may not be chosen all of that happens
 * in a box (box.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/plan/host.h"
#include "engine/plan/lazy.h"
#include "engine/plan/program.h"
#include "engine/store/image.h"
#include "engine/store/pack.h"
#include "injector/box.h"
#include "injector/clock.h"
#include "injector/fill.h"
#include "injector/job.h"
#include "injector/lazy.h"
#include "injector/ptrace.h"
#include "injector/restore.h"

#define STREAM_REAP_NS 2000000000ull /* a stream comes right after its tree died */
#define POLL_MS 20
#define VERIFY_THREADS 2

/* ---- plan ---- */

static int load_and_plan(const struct ckpt_restore_run *run, struct ckpt_arena *arena,
			 struct ckpt_image **imgp, struct ckpt_plan **planp,
			 struct ckpt_problems *problems, struct ckpt_err *err)
{
	struct ckpt_snapshot *snap;
	struct ckpt_host *host;
	int r;

	r = run->lent ? ckpt_image_open_from(imgp, arena, run->dirfd, run->dir, run->handover->from,
					     err) :
	    run->handover ? ckpt_image_open_handed(imgp, arena, run->dirfd, run->dir, err) :
			    ckpt_image_open(imgp, arena, run->dirfd, run->dir, err);
	if (r >= 0)
		r = ckpt_image_load(*imgp, &snap, err);
	if (r >= 0 && ckpt_image_is_stream(*imgp) && !run->handover)
		ckpt_host_await_reapers(snap, STREAM_REAP_NS);
	if (r >= 0)
		r = ckpt_host_probe(&host, arena, snap, err);
	if (r >= 0)
		r = ckpt_plan_make(planp, arena, snap, host, &run->plan, err);
	if (r < 0)
		return r;
	ckpt_logf(run->log, 3,
		  "image read: %zu processes, %zu objects; %zu steps planned, %zu problems",
		  snap->n_tasks, snap->n_objects, (*planp)->n_steps, (*planp)->problems.n);
	for (size_t i = 0; i < (*planp)->problems.n; i++)
		ckpt_problem_add(problems, (*planp)->problems.v[i].number, "%s",
				 (*planp)->problems.v[i].text);
	if (run->pidfile && faccessat(AT_FDCWD, run->pidfile, F_OK, AT_EACCESS) == 0)
		ckpt_problem_add(problems, CKPT_E_PIDFILE_EXISTS, "pidfile %s: exists",
				 run->pidfile);
	return host->box;
}

int ckpt_restore_plan(const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		      struct ckpt_plan **planp, struct ckpt_problems *problems,
		      struct ckpt_err *err)
{
	struct ckpt_image *img = NULL;
	int r = load_and_plan(run, arena, &img, planp, problems, err);

	ckpt_image_close(img);
	return r < 0 ? r : 0;
}

/* ---- the run ---- */

static void index_steps(struct ckpt_job *job)
{
	const struct ckpt_plan *plan = job->plan;
	size_t n = plan->snap->n_tasks + 1;

	job->n_steps = ckpt_alloc(job->arena, n * sizeof(*job->n_steps));
	job->steps = ckpt_alloc(job->arena, n * sizeof(*job->steps));
	for (size_t i = 0; i < plan->n_steps; i++)
		job->n_steps[plan->steps[i].actor]++;
	for (size_t a = 0; a < n; a++) {
		job->steps[a] =
			ckpt_alloc(job->arena, (job->n_steps[a] + 1) * sizeof(**job->steps));
		job->n_steps[a] = 0;
	}
	for (size_t i = 0; i < plan->n_steps; i++)
		job->steps[plan->steps[i].actor][job->n_steps[plan->steps[i].actor]++] = i;
}

static int open_job(struct ckpt_job *job, const struct ckpt_plan *plan,
		    const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		    struct ckpt_err *err)
{
	size_t n = plan->snap->n_tasks;

	*job = (struct ckpt_job){
		.arena = arena,
		.plan = plan,
		.log = run->log,
		.coordinator = getpid(),
	};
	job->slots = mmap(NULL, n * sizeof(*job->slots), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job->slots == MAP_FAILED)
		return ckpt_fail(err, -errno, "cannot map %zu bytes", n * sizeof(*job->slots));
	for (size_t i = 0; i < n; i++)
		job->n_threads += plan->snap->tasks[i]->n_threads;
	index_steps(job);
	return 0;
}

/* What a failed vector was about, as well as the call tells it. */
static int vector_failed(struct ckpt_job *job, const struct ckpt_task *task,
			 const struct ckpt_sv_status *s, struct ckpt_err *err)
{
	const struct ckpt_task_program *prog = job->plan->programs[task->id - 1];
	const struct ckpt_sysvec *v;
	const struct ckpt_sv_call *c;

	if (s->thread >= task->n_threads)
		return ckpt_fail(err, -EIO, "process %d: the restorer failed", task->pid);
	v = (const void *)(prog->bytes + (prog->vec[s->thread] - job->plan->layout->home));
	c = &v->call[s->failed - 1];
	for (size_t i = 1; c->flags & CKPT_SV_CLONE && s->ret == -EEXIST && i < task->n_threads;
	     i++)
		if (prog->vec[i] == (uint64_t)c->want)
			return ckpt_refuse(err, CKPT_E_PID_TAKEN, -EEXIST,
					   "process %d (%s): the number of its thread %d is taken",
					   task->pid, task->comm, task->threads[i].tid);
	return ckpt_fail(
		err, s->ret < 0 ? (int)s->ret : -EIO,
		"process %d: thread %d: step %u of its last stage (call %d, %#llx, %#llx, %#llx) returned %lld",
		task->pid, task->threads[s->thread].tid, s->failed - 1, c->nr,
		(unsigned long long)c->arg[0], (unsigned long long)c->arg[1],
		(unsigned long long)c->arg[2], (long long)s->ret);
}

/* Has any task failed, or are we asked to stop? */
static int check_tasks(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	int sig = ckpt_stops_pending(&job->stops);

	if (sig)
		return ckpt_fail(err, -ECANCELED, "stopped by signal %d (%s)", sig, strsignal(sig));
	for (size_t i = 0; i < snap->n_tasks; i++) {
		const struct ckpt_sv_status *s =
			(void *)(uintptr_t)ckpt_layout_status(job->plan->layout, i + 1);

		if (job->slots[i].err.code) {
			*err = job->slots[i].err;
			return err->code;
		}
		if (__atomic_load_n(&s->failed, __ATOMIC_SEQ_CST))
			return vector_failed(job, snap->tasks[i], s, err);
	}
	return 0;
}

static bool has_ended(pid_t pid)
{
	struct ckpt_proc_stat st;
	siginfo_t si = { 0 };

	if (waitid(P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid &&
	    (si.si_code == CLD_EXITED || si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED))
		return true; /* of one that we trace it tells of stops as well */
	return ckpt_proc_stat(pid, &st) < 0 || st.state == 'Z' || st.state == 'X';
}

static int check_lives(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;

	for (size_t i = 0; i < snap->n_tasks; i++)
		if (job->slots[i].born && snap->tasks[i]->run_state != CKPT_ZOMBIE &&
		    has_ended(snap->tasks[i]->pid)) {
			int r = check_tasks(job, err);

			return r < 0 ? r :
				       ckpt_fail(err, -ECHILD,
						 "process %d (%s): ended during its restore",
						 snap->tasks[i]->pid, snap->tasks[i]->comm);
		}
	return 0;
}

/* Of what the tasks read by themselves. */
static void report(const struct ckpt_job *job, uint64_t total)
{
	struct ckpt_progress *progress = ckpt_arena_progress(job->arena);
	const struct ckpt_snapshot *snap = job->plan->snap;
	unsigned long size, resident;
	uint64_t done = 0;
	char text[64];

	for (size_t i = 0; progress && i < snap->n_tasks; i++)
		if (ckpt_proc_read(snap->tasks[i]->pid, "statm", text, sizeof(text)) > 0 &&
		    sscanf(text, "%lu %lu", &size, &resident) == 2)
			done += resident * CKPT_PAGE;
	ckpt_progress_at(progress, done < total ? done : total, total);
}

static int await_all(struct ckpt_job *job, uint32_t *word, uint64_t total, struct ckpt_err *err)
{
	for (unsigned int i = 1; !ckpt_gate_await_ms(word, job->n_threads, POLL_MS); i++) {
		int r = check_tasks(job, err);

		if (r >= 0 && i % 5 == 0)
			r = check_lives(job, err);
		if (r < 0)
			return r;
		report(job, total);
	}
	return check_tasks(job, err);
}

/* Ends whatever was born; orphans come to us (subreaper) and are reaped. */
static void kill_tree(struct ckpt_job *job)
{
	const struct ckpt_snapshot *snap = job->plan->snap;

	for (int round = 0; round < 500; round++) {
		struct timespec ms = { 0, 2000000 };
		bool left = false;

		for (size_t i = 0; i < snap->n_tasks; i++) {
			if (!job->slots[i].born)
				continue;
			if (round == 0)
				kill(snap->tasks[i]->pid, SIGKILL);
			if (waitpid(snap->tasks[i]->pid, NULL, WNOHANG | __WALL) ==
			    snap->tasks[i]->pid)
				job->slots[i].born = 0;
			else if (kill(snap->tasks[i]->pid, 0) < 0)
				job->slots[i].born = 0;
			left |= job->slots[i].born;
		}
		if (!left)
			break;
		nanosleep(&ms, NULL);
	}
	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) /* those that stood in for a dead leader */
		;
}

int ckpt_pidfile_make(const char *path, struct ckpt_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST)
		return ckpt_refuse(err, CKPT_E_PIDFILE_EXISTS, -EEXIST, "pidfile %s: exists", path);
	if (fd >= 0 && posix_fallocate(fd, 0, 16) == 0 && ftruncate(fd, 0) == 0)
		return fd;
	ckpt_refuse(err, CKPT_E_OUTPUT, -errno, "pidfile %s: cannot write: %s", path,
		    strerrordesc_np(errno));
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	return err->code;
}

static int start_helpers(struct ckpt_job *job, struct ckpt_err *err)
{
	int r = ckpt_lazy_start(job, err);

	return r < 0 ? r : ckpt_guardian_start(job, err);
}

/* Helpers start while the first task is on its way, but not where they could have, for the moment
 * that it takes to see it, a number that the tree still wants. */
static int fork_root(struct ckpt_job *job, const struct ckpt_restore_run *run, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	bool alone = job->n_threads == 1 && snap->n_tasks == 1;
	int own_time = -1, r = alone ? 0 : start_helpers(job, err);

	if (r >= 0)
		r = ckpt_clock_enter(job->plan, &own_time, err);
	if (r >= 0)
		r = ckpt_task_fork(job, snap->tasks[0], run->sibling && getpid() != 1, err);
	ckpt_clock_leave(own_time);
	if (r < 0)
		return r;
	ckpt_logf(run->log, 3, "process %d forked", snap->tasks[0]->pid);
	return alone ? start_helpers(job, err) : 0;
}

/* From here on page faults are answered: the last stage may need it. */
static int await_lazy(struct ckpt_job *job, struct ckpt_err *err)
{
	int r = 0;

	while (!r) {
		r = check_tasks(job, err);
		if (r >= 0)
			r = ckpt_lazy_await_ms(job, POLL_MS, err);
		if (!r)
			r = check_lives(job, err);
	}
	return r;
}

/* While the tasks read the pages, or wait for them; nothing runs before it is done. */
static int check_pages(struct ckpt_job *job, const struct ckpt_image *img, const bool *which,
		       struct ckpt_err *err)
{
	int r = 0;

	if (job->plan->lazy != CKPT_LAZY_FILL)
		return ckpt_image_verify_chunks(img, which, VERIFY_THREADS, err);
	while (r >= 0 && !ckpt_fill_await_ms(job, POLL_MS)) {
		r = check_tasks(job, err);
		if (r >= 0)
			r = check_lives(job, err);
	}
	return r < 0 ? r : ckpt_fill(job, img, which, err);
}

static int build(struct ckpt_job *job, const struct ckpt_image *img,
		 const struct ckpt_restore_run *run, uint64_t total, struct ckpt_err *err)
{
	bool *needed = ckpt_lazy_needed_chunks(job->plan, job->arena, ckpt_image_n_chunks(img),
					       CKPT_CHUNK, true);
	int r = ckpt_image_fetch_all(img, needed, err);

	if (r >= 0)
		r = ckpt_builder_run(job, err);
	if (r >= 0)
		r = ckpt_lazy_open(job, img, run, needed, err);
	ckpt_logf(run->log, 3, "%zu objects made", job->plan->snap->n_objects);
	if (r >= 0)
		r = fork_root(job, run, err);
	if (r < 0)
		return r;
	r = check_pages(job, img, job->lazy || ckpt_image_is_lent(img) ? needed : NULL, err);
	if (r >= 0 && job->lazy)
		r = await_lazy(job, err);
	return r < 0 ? r : await_all(job, &job->gates->ready, total, err);
}

static int commit(struct ckpt_job *job, const struct ckpt_restore_run *run, uint64_t total,
		  struct ckpt_err *err)
{
	int r = ckpt_finish_seize(job, err);

	if (r < 0)
		return r;
	ckpt_logf(run->log, 3, "all in place, %llu bytes of pages: committed",
		  (unsigned long long)total);
	ckpt_gate_arrive(&job->gates->commit);
	r = await_all(job, &job->gates->done, total, err);
	if (r >= 0)
		r = ckpt_undo_do_decided(job, err);
	return r < 0 ? r : ckpt_finish_rest(job, err);
}

static int build_and_commit(struct ckpt_job *job, const struct ckpt_image *img,
			    const struct ckpt_restore_run *run, struct ckpt_err *err)
{
	uint64_t total = ckpt_image_pages_size(img);
	int r = build(job, img, run, total, err);

	if (r < 0)
		return r;
	ckpt_builder_let_go(job);
	if (run->handover)
		r = ckpt_handover_arrive(run->handover, err);
	return r < 0 ? r : commit(job, run, total, err);
}

int ckpt_restore_here(const struct ckpt_plan *plan, const struct ckpt_image *img,
		      const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		      struct ckpt_err *err)
{
	struct ckpt_job job;
	int r = open_job(&job, plan, run, arena, err);

	if (r < 0)
		return r;
	ckpt_stops_block(&job.stops);
	signal(SIGCHLD, SIG_DFL); /* ignored by our caller, children would leave no status */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	ckpt_numbers_await(plan->snap);
	r = build_and_commit(&job, img, run, err);
	if (r < 0)
		kill_tree(&job);
	if (r >= 0 && !job.lazy)
		ckpt_image_give_back(img, NULL);
	ckpt_lazy_over(job.lazy, err);
	if (r < 0)
		ckpt_undo_all(&job);
	else
		ckpt_undo_forget(&job);
	ckpt_guardian_end(&job);
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	ckpt_stops_unblock(&job.stops, r < 0);
	munmap(job.slots, plan->snap->n_tasks * sizeof(*job.slots));
	return r;
}

static void fill_stats(struct ckpt_restore_stats *stats, const struct ckpt_plan *plan,
		       const struct ckpt_image *img)
{
	*stats = (struct ckpt_restore_stats){
		.n_tasks = plan->snap->n_tasks,
		.bytes = ckpt_image_bytes(img),
		.root = plan->snap->tasks[0]->pid,
		.losses = plan->losses,
		.n_losses = plan->n_losses,
	};
	for (size_t i = 0; i < plan->snap->n_tasks; i++)
		stats->n_threads += plan->snap->tasks[i]->n_threads;
}

/* What is filled in need not be in a file. */
static int unpack(struct ckpt_image *img, const struct ckpt_plan *plan, struct ckpt_arena *arena,
		  struct ckpt_err *err)
{
	const bool *which = NULL;

	if (plan->lazy == CKPT_LAZY_FILL)
		which = ckpt_lazy_needed_chunks(plan, arena, ckpt_image_n_chunks(img), CKPT_CHUNK,
						false);
	return ckpt_image_unpack(img, which, ckpt_pack_threads(UINT64_MAX), err);
}

static int wait_root(pid_t root, int *statusp, struct ckpt_err *err)
{
	while (waitpid(root, statusp, __WALL) < 0)
		if (errno != EINTR)
			return ckpt_fail(err, -errno, "process %d: cannot wait for its end", root);
	return 0;
}

int ckpt_restore(const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		 struct ckpt_restore_stats *stats,
		 void (*started)(const struct ckpt_restore_stats *stats, void *arg), void *arg,
		 struct ckpt_problems *problems, struct ckpt_err *err)
{
	uint64_t start = ckpt_now_ns();
	struct ckpt_image *img = NULL;
	struct ckpt_box box = { .channel = -1 };
	struct ckpt_plan *plan;
	CKPT_FD pidfile = -1;
	int r = load_and_plan(run, arena, &img, &plan, problems, err);
	bool boxed = r > 0;

	if (r >= 0)
		r = ckpt_problems_err(problems, err);
	if (r >= 0) {
		fill_stats(stats, plan, img);
		r = run->pidfile ? pidfile = ckpt_pidfile_make(run->pidfile, err) : 0;
	}
	if (r >= 0)
		r = unpack(img, plan, arena, err);
	if (r >= 0)
		ckpt_image_know_parts(img, plan->snap);
	if (r >= 0 && boxed)
		r = ckpt_box_restore(&box, plan, img, run, arena, err);
	else if (r >= 0)
		r = ckpt_restore_here(plan, img, run, arena, err);
	if (run->handover)
		ckpt_handover_answer(run->handover, r >= 0);
	ckpt_image_close(img);
	if (r < 0) {
		if (pidfile >= 0)
			unlink(run->pidfile);
		return r;
	}
	if (boxed) {
		stats->boxed = true;
		stats->root = box.root;
	}
	if (pidfile >= 0)
		dprintf(pidfile, "%d", stats->root);
	stats->total_ns = ckpt_now_ns() - start;
	ckpt_logf(run->log, 3, "process %d runs", stats->root);
	if (started)
		started(stats, arg);
	if (run->detached || run->sibling)
		return 0;
	return boxed ? ckpt_box_wait(&box, &stats->exit_status, err) :
		       wait_root(stats->root, &stats->exit_status, err);
}
