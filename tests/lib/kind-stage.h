/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests of kinds of processes and threads: collect() through a source that is the calling
 * process; plan() of one object of one task, without a planner; and its calls made by the calling
 * process instead of by the interpreter.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/capture/collect.h"
#include "engine/memory/layout.h"
#include "engine/plan/program-builder.h"
#include "engine/plan/site.h"
#include "tests/lib/self-source.h"
#include "tests/lib/tap.h"

#define HOME_LEN (1u << 20)

static struct ckpt_arena *arena;
static void *home; /* where the data of the calls goes */

static siginfo_t queued[2][8]; /* what peek_signal() shows: of the thread, of the process */

static int self_peek(struct ckpt_source *src, pid_t tid, bool of_process, unsigned int n,
		     siginfo_t *info, struct ckpt_err *err)
{
	(void)src, (void)tid, (void)err;
	if (n >= 8 || !queued[of_process][n].si_signo)
		return 0;
	*info = queued[of_process][n];
	return 1;
}

static const struct ckpt_source_ops self_ops = {
	.name = "self",
	.open_proc = self_open_proc,
	.read_link = self_read_link,
	.call = self_call,
	.peek_signal = self_peek,
};

__attribute__((unused)) static int collect(const struct ckpt_kind *kind, ProtobufCMessage **msgp,
					   struct ckpt_err *err)
{
	struct ckpt_source src = { &self_ops };
	struct ckpt_collect c = { .src = &src,
				  .arena = arena,
				  .pid = getpid(),
				  .tid = getpid(),
				  .number = -1,
				  .fd = -1 };

	*msgp = ckpt_alloc(arena, kind->message->sizeof_message);
	protobuf_c_message_init(kind->message, *msgp);
	return kind->collect(&c, *msgp, err);
}

struct stage {
	struct ckpt_snapshot snap;
	struct ckpt_task task, *tasks[1];
	struct ckpt_thread threads[2];
	struct ckpt_object obj;
	struct ckpt_host host;
	struct ckpt_plan plan;
	struct ckpt_layout layout;
	struct ckpt_thread_calls calls;
	struct ckpt_program_builder builder;
	struct ckpt_planner planner;
	struct ckpt_err err;
};

static struct ckpt_host here; /* this machine */

__attribute__((unused)) static void probe_here(void)
{
	struct ckpt_snapshot none = { 0 };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_host *host;

	must(ckpt_arena_open(&arena, 1ull << 30, &err) == 0, "memory");
	must(ckpt_host_probe(&host, arena, &none, &err) == 0, "facts about this machine: %s",
	     err.text);
	here = *host;
	home = mmap(NULL, HOME_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(home != MAP_FAILED, "a place for data");
	here.box = false; /* no test makes one by itself */
}

/* Fills S for MSG; the host is this machine until a test changes it. */
static void stage_init(struct stage *s, const char *kind, void *msg)
{
	memset(s, 0, sizeof(*s));
	s->host = here;
	s->threads[0].tid = getpid();
	s->task = (struct ckpt_task){ .id = 1,
				      .pid = getpid(),
				      .threads = s->threads,
				      .n_threads = 1 };
	s->tasks[0] = &s->task;
	s->snap = (struct ckpt_snapshot){ .tasks = s->tasks, .n_tasks = 1 };
	s->obj = (struct ckpt_object){ .id = 1,
				       .kind = ckpt_kind_find(kind),
				       .msg = msg,
				       .task = 1,
				       .tid = getpid() };
	s->plan.problems.arena = arena;
	s->layout.home = (uintptr_t)home;
	s->builder = (struct ckpt_program_builder){
		.p = &s->planner,
		.task = &s->task,
		.layout = &s->layout,
		.threads = &s->calls,
	};
	s->planner = (struct ckpt_planner){
		.arena = arena,
		.snap = &s->snap,
		.host = &s->host,
		.plan = &s->plan,
		.obj = &s->obj,
		.program = &s->builder,
	};
}

static int stage_plan(struct stage *s)
{
	return s->obj.kind->plan(&s->planner, &s->obj, &s->err);
}

static int run_calls(const struct ckpt_call_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct ckpt_sv_call *c = &l->v[i];
		long r = syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4],
				 c->arg[5]);

		if ((c->flags & CKPT_SV_EQUAL) ? r != c->want : r < 0) {
			diag("call %zu: nr %d (%#lx, %#lx, %#lx) returned %ld, errno %d", i, c->nr,
			     (long)c->arg[0], (long)c->arg[1], (long)c->arg[2], r, errno);
			return -1;
		}
	}
	return 0;
}

/* As the interpreter would, and the coordinator afterwards. */
__attribute__((unused)) static int stage_run(struct stage *s)
{
	struct ckpt_site site = { .snap = &s->snap, .task = &s->task };

	if (s->builder.data_len > HOME_LEN)
		return -1;
	if (s->builder.data_len)
		memcpy(home, s->builder.data, s->builder.data_len);
	if (s->obj.kind->attach && s->obj.kind->attach(&site, &s->obj, &s->err) < 0)
		return -1;
	for (int when = 0; when < CKPT_PARKED; when++)
		if (run_calls(&s->calls.phase[when]) < 0)
			return -1;
	return run_calls(&s->builder.parked);
}

/* In a process of its own: masks and queues stay there. */
__attribute__((unused)) static void apart(void (*test)(void), const char *name)
{
	int status = 0, counts[2] = { 0 };
	pid_t pid;
	int fds[2];

	if (pipe(fds) < 0)
		exit(1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		test();
		counts[0] = tap_n, counts[1] = tap_failed;
		_exit(write(fds[1], counts, sizeof(counts)) != sizeof(counts));
	}
	close(fds[1]);
	if (read(fds[0], counts, sizeof(counts)) == sizeof(counts))
		tap_n = counts[0], tap_failed = counts[1];
	close(fds[0]);
	waitpid(pid, &status, 0);
	ok(status == 0, "%s: came to its end", name);
}
