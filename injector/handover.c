/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before "go" the tree is let go of, but stopped: the death of ckpt from then on neither lets it
 * run while it runs at the other side, nor ends it while it does not.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/words.h"
#include "injector/handover.h"
#include "injector/ptrace.h"

#define READY "ready"
#define GO "go"
#define RUNNING "running"
#define DONE "done"
#define DEATH_MS 10000
#define MIB_PER_S 64 /* of memory that the other side puts in its place, at the least */

static struct ckpt_talk talk_to(const struct ckpt_handover *h,
				int (*go_on)(void *arg, struct ckpt_err *err), void *arg)
{
	return (struct ckpt_talk){ h->to, h->from, h->where, go_on, arg };
}

/* ---- the side that it leaves ---- */

int ckpt_handover_listen(const struct ckpt_handover *h, struct ckpt_err *err)
{
	const struct ckpt_talk talk = { .where = h ? h->where : NULL };
	int said;

	if (!h || ioctl(h->from, FIONREAD, &said) < 0 || said <= CKPT_WORD_MAX + 1)
		return 0;
	return ckpt_word_strange(&talk, err);
}

/* While it is waited for, all stands still. */
struct patience {
	const char *where;
	uint64_t seconds, until; /* CLOCK_MONOTONIC */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *arg;
};

static int be_patient(void *arg, struct ckpt_err *err)
{
	const struct patience *p = arg;

	if (ckpt_now_ns() > p->until)
		return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -ETIMEDOUT,
				   "%s: it has all, and says nothing for %llu s", p->where,
				   (unsigned long long)p->seconds);
	return p->go_on(p->arg, err);
}

static uint64_t patience_for(const struct ckpt_handover *h, const struct ckpt_snapshot *snap)
{
	uint64_t kib = 0;
	char status[4096];

	for (size_t i = 0; i < snap->n_tasks; i++)
		if (ckpt_proc_read(snap->tasks[i]->pid, "status", status, sizeof(status)) > 0)
			kib += ckpt_status_number(status, "VmRSS", 10) +
			       ckpt_status_number(status, "VmSwap", 10);
	return h->patience_s + kib / 1024 / MIB_PER_S;
}

/* 0: it said WORD. */
static int expect(const struct ckpt_handover *h, const struct ckpt_talk *talk, const char *word,
		  bool *failedp, struct ckpt_err *err)
{
	char heard[CKPT_WORD_MAX + 1];
	int r;

	if (!h->later)
		return ckpt_word_expect(talk, word, failedp, err);
	for (;;) {
		r = ckpt_word_hear(talk, heard, err);
		if (r < 0 || !strcmp(heard, word))
			return r;
		*failedp = !strcmp(heard, CKPT_WORD_FAILED);
		r = *failedp ? ckpt_word_failed(talk, err) : h->later->other(h->later, heard, err);
		if (r < 0)
			return r;
	}
}

/* Numbers of processes that are stopped may go to others when they are killed by somebody. */
static int hold(const struct ckpt_snapshot *snap, int *held, struct ckpt_err *err)
{
	for (size_t i = 0; i < snap->n_tasks; i++) {
		if (snap->tasks[i]->run_state == CKPT_ZOMBIE)
			continue;
		held[i] = pidfd_open(snap->tasks[i]->pid, 0);
		if (held[i] < 0)
			return ckpt_fail(err, -errno, "process %d: cannot hold it",
					 snap->tasks[i]->pid);
	}
	return 0;
}

static void give_back(const struct ckpt_snapshot *snap, int *held)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		ckpt_close_fd(&held[i]);
}

static void let_run(const struct ckpt_snapshot *snap, const int *held)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (held[i] >= 0 && snap->tasks[i]->run_state != CKPT_STOPPED)
			pidfd_send_signal(held[i], SIGCONT, NULL, 0);
}

static void end(const struct ckpt_snapshot *snap, const int *held)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (held[i] >= 0)
			pidfd_send_signal(held[i], SIGKILL, NULL, 0);
	for (size_t i = 0; i < snap->n_tasks; i++) {
		struct pollfd dead = { .fd = held[i], .events = POLLIN };

		if (held[i] >= 0)
			poll(&dead, 1, DEATH_MS);
	}
}

static int unsure(const struct ckpt_handover *h, const struct ckpt_snapshot *snap,
		  struct ckpt_err *err)
{
	struct ckpt_err why = *err;

	*err = (struct ckpt_err)CKPT_ERR_INIT;
	return ckpt_refuse(err, CKPT_E_BETWEEN, -EPIPE,
			   "%s; nobody knows whether process %d runs there, here it stays stopped",
			   why.text[0] ? why.text : h->where, snap->tasks[0]->pid);
}

static int say_go(const struct ckpt_handover *h, const struct ckpt_talk *talk, struct ckpt_err *err)
{
	if (!h->later)
		return ckpt_word_say(talk, GO, err);
	h->later->stopped = true;
	return h->later->go(h->later, err);
}

static int go_there(const struct ckpt_handover *h, const struct ckpt_talk *talk,
		    struct ckpt_source *src, const struct ckpt_snapshot *snap, const int *held,
		    struct ckpt_err *err)
{
	bool failed = false, ran; /* it did, or never heard that it may */
	int r = src->ops->stop(src, err);

	if (r < 0)
		return r;
	r = say_go(h, talk, err);
	failed = r < 0;
	if (r >= 0)
		r = expect(h, talk, RUNNING, &failed, err);
	ran = r >= 0;
	if (r >= 0 && h->later)
		r = expect(h, talk, DONE, &failed, err);
	if (r >= 0)
		end(snap, held);
	else if (failed && !ran)
		let_run(snap, held);
	else
		r = unsure(h, snap, err);
	return r;
}

int ckpt_handover_leave(const struct ckpt_handover *h, struct ckpt_source *src,
			const struct ckpt_snapshot *snap,
			int (*go_on)(void *arg, struct ckpt_err *err), void *arg,
			struct ckpt_err *err)
{
	CKPT_FREE int *held = malloc(snap->n_tasks * sizeof(*held));
	struct patience patience = { .where = h->where, .go_on = go_on, .arg = arg };
	const struct ckpt_talk talk = talk_to(h, go_on, arg);
	struct ckpt_talk first = talk;
	bool failed;
	int r = held ? 0 : ckpt_fail(err, -ENOMEM, "cannot hold processes");

	if (r < 0)
		return r;
	memset(held, 0xff, snap->n_tasks * sizeof(*held));
	if (h->patience_s) {
		patience.seconds = patience_for(h, snap);
		patience.until = ckpt_now_ns() + patience.seconds * 1000000000;
		first = talk_to(h, be_patient, &patience);
	}
	r = expect(h, &first, READY, &failed, err);
	if (r >= 0)
		r = hold(snap, held, err);
	if (r >= 0)
		r = go_there(h, &talk, src, snap, held, err);
	give_back(snap, held);
	return r;
}

/* ---- the side that it comes to ---- */

int ckpt_handover_arrive(struct ckpt_handover *h, struct ckpt_err *err)
{
	const struct ckpt_talk talk = talk_to(h, NULL, NULL);
	bool failed;
	int r = ckpt_word_say(&talk, READY, err);

	return r < 0 ? r : ckpt_word_expect(&talk, GO, &failed, err);
}

void ckpt_handover_answer(struct ckpt_handover *h, bool runs)
{
	const struct ckpt_talk talk = talk_to(h, NULL, NULL);
	struct ckpt_err ignored = CKPT_ERR_INIT;

	if (!h->answered)
		ckpt_word_say(&talk, runs ? RUNNING : CKPT_WORD_FAILED, &ignored);
	h->answered = true;
}
