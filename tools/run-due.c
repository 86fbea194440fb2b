/* SPDX-License-Identifier: Apache-2.0 */
/* When the supervisor takes a checkpoint, and what it says of it. One at a time. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "injector/ptrace.h"
#include "tools/arguments.h"
#include "tools/ckpt.h"
#include "tools/run-supervise.h"

#define ENDING_MS 100

int ckpt_run_open_results(struct ckpt_supervisor *r, struct ckpt_err *err)
{
	r->result = mmap(NULL, sizeof(*r->result), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return r->result == MAP_FAILED ? ckpt_fail(err, -errno, "cannot map memory") : 0;
}

char ckpt_run_state(pid_t pid)
{
	struct ckpt_proc_stat st;

	return ckpt_proc_stat(pid, &st) < 0 ? 'X' : st.state;
}

/* One that is about to end cannot be checkpointed any more, and nobody wants to know. */
static bool is_ending(const struct ckpt_supervisor *r)
{
	struct pollfd fd = { r->pidfd, POLLIN, 0 };

	return r->ended || poll(&fd, 1, ENDING_MS) > 0;
}

void ckpt_run_due(struct ckpt_supervisor *r)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	uint64_t now = ckpt_now_ns();
	bool due = r->o->interval_ns && now >= r->next;

	if (r->pidfd < 0 || r->ended)
		return;
	/* What is late is not made up for. */
	if (due)
		r->next = now + r->o->interval_ns;
	if (r->checkpointer || r->taken_last)
		return;
	r->is_last = r->last != 0;
	/* One that stands still has done nothing since. */
	if (!r->is_last && (!due || ckpt_run_state(r->program) == 'T'))
		return;
	r->checkpointer = ckpt_run_checkpoint(r->o, r->program, r->is_last, r->result, &err);
	if (r->checkpointer > 0)
		return;
	r->checkpointer = 0;
	r->result->err = err;
	ckpt_run_taken(r, 1 << 8);
}

static void say_taken(struct ckpt_supervisor *r)
{
	const struct ckpt_run_result *res = r->result;
	char bytes[24], frozen[24];

	if (r->is_last)
		ckpt_run_say("checkpointed in %s/%s; start it again with --resume", r->g->path,
			     res->name);
	else if (r->o->verbose)
		ckpt_run_say("%s: %u process%s, %u thread%s, %s in %.3f s, frozen for %s",
			     res->name, res->n_tasks, res->n_tasks == 1 ? "" : "es", res->n_threads,
			     res->n_threads == 1 ? "" : "s", ckpt_size_text(res->bytes, bytes),
			     res->total_ns / 1e9, ckpt_human_time(frozen, res->frozen_ns));
	if (res->note[0] && (r->o->verbose || !r->noted))
		ckpt_run_say("note: %s", res->note);
	r->noted |= res->note[0];
}

/* The same failure again and again is said once. */
static void say_failed(struct ckpt_supervisor *r, int status)
{
	char sentence[1400];

	if (WIFSIGNALED(status))
		snprintf(sentence, sizeof(sentence), "the process that took it was ended by %s",
			 strsignal(WTERMSIG(status)));
	else
		ckpt_err_sentence(&r->result->err, sentence, sizeof(sentence));
	if (!r->is_last && !strncmp(sentence, r->said, sizeof(r->said) - 1))
		return;
	snprintf(r->said, sizeof(r->said), "%s", sentence);
	ckpt_run_say("no checkpoint: %s", sentence);
}

void ckpt_run_taken(struct ckpt_supervisor *r, int status)
{
	char name[24];

	r->checkpointer = 0;
	if (r->result->done) {
		r->said[0] = 0;
		r->taken_last = r->is_last;
		say_taken(r);
		return;
	}
	if (is_ending(r))
		return;
	say_failed(r, status);
	if (!r->is_last)
		return;
	ckpt_run_say("the program gets %s instead", ckpt_signal_name(name, r->last));
	if (r->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, r->pidfd, r->last, NULL, 0);
	r->last = 0;
}
