/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pending signals with what was sent along. They can only be taken out of their queue, so each goes
 * back to its end at once; when a mark that was put there before comes out, all have gone round and
 * the order is the old one. Never more than one is on its way.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define AT_ONCE (CKPT_WIRE_DATA / sizeof(siginfo_t))
#define ROUND_MAX 1000000
#define FIRST_QUEUED 32 /* below that there is one of each at most */
#define MARK 0x636b7074 /* in si_value of the mark */

int ckpt_open_task(pid_t tid, const char *name)
{
	char path[48] = "/proc/self/task/", digits[12], *to = path + 16;
	int n = 0;

	for (; tid; tid /= 10)
		digits[n++] = '0' + tid % 10;
	while (n)
		*to++ = digits[--n];
	*to++ = '/';
	strcpy(to, name);
	return ckpt_sys(SYS_open, path, O_RDONLY | O_CLOEXEC);
}

uint64_t ckpt_status_set(pid_t tid, const char *key)
{
	char text[2048];
	const char *at;
	uint64_t set = 0;
	int64_t len;
	int fd = ckpt_open_task(tid, "status");

	if (fd < 0)
		return 0;
	len = ckpt_sys(SYS_read, fd, text, sizeof(text) - 1);
	ckpt_sys(SYS_close, fd);
	text[len > 0 ? len : 0] = '\0';
	at = strstr(text, key);
	for (at = at ? at + strlen(key) : ""; *at && *at != '\n'; at++)
		set = set << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	return set;
}

static int64_t call_by(struct ckpt_parked *p, struct ckpt_wire_request req)
{
	req.buf_arg = -1;
	return ckpt_parked_call(p, &req, NULL);
}

/* Takes the next one that thread P can take: its own come before those of the process. */
static bool take(struct ckpt_parked *p, int sig, siginfo_t *info)
{
	static const struct timespec now;
	uint64_t set = 1ull << (sig - 1);

	return call_by(p, (struct ckpt_wire_request){
				  .nr = SYS_rt_sigtimedwait,
				  .arg = { (uintptr_t)&set, (uintptr_t)info, (uintptr_t)&now, 8 },
			  }) == sig;
}

static struct ckpt_parked *main_thread(void)
{
	struct ckpt_session *s = ckpt_session;
	struct ckpt_parked *p = s->parked;

	if (s->leader->tid == s->pid)
		return s->leader;
	while (p && p->tid != s->pid)
		p = p->next;
	return p;
}

/* The kernel lets nobody but the thread itself queue what looks as if the kernel had sent it; the
 * process is its main thread there. */
static int64_t put(struct ckpt_parked *p, bool of_process, int sig, const siginfo_t *info)
{
	struct ckpt_wire_request req = { .nr = SYS_rt_tgsigqueueinfo,
					 .arg = { ckpt_session->pid, p->tid, sig,
						  (uintptr_t)info } };

	if (!of_process)
		return call_by(p, req);
	p = main_thread();
	req = (struct ckpt_wire_request){ .nr = SYS_rt_sigqueueinfo,
					  .arg = { ckpt_session->pid, sig, (uintptr_t)info } };
	return p ? call_by(p, req) : -ESRCH;
}

static bool is_mark(const siginfo_t *info)
{
	return info->si_code == SI_QUEUE && info->si_pid == ckpt_session->pid &&
	       info->si_value.sival_int == MARK;
}

struct list {
	siginfo_t *info;
	uint64_t skip, n;
};

static void add(struct list *l, const siginfo_t *info)
{
	if (l->skip)
		l->skip--;
	else if (l->n < AT_ONCE)
		l->info[l->n++] = *info;
}

static int64_t go_round(struct list *l, struct ckpt_parked *p, bool of_process, int sig)
{
	siginfo_t info = { 0 };
	int64_t r;

	info.si_signo = sig;
	info.si_code = SI_QUEUE;
	info.si_pid = ckpt_session->pid;
	info.si_value.sival_int = MARK;
	if (sig >= FIRST_QUEUED) {
		r = put(p, of_process, sig, &info);
		if (r < 0)
			return r;
	}
	for (int i = 0; i < ROUND_MAX && take(p, sig, &info); i++) {
		if (sig >= FIRST_QUEUED && is_mark(&info))
			return 0;
		add(l, &info);
		r = put(p, of_process, sig, &info);
		if (r < 0 || sig < FIRST_QUEUED)
			return r;
	}
	return 0;
}

/* Those of the process come after the thread's own: these are set aside for that time. */
static int64_t go_round_process(struct list *l, int sig)
{
	struct ckpt_parked *by = ckpt_session->leader;
	siginfo_t *own = (void *)ckpt_session->in;
	uint64_t bit = 1ull << (sig - 1);
	uint32_t n = 0;
	int64_t r = 0, back = 0;

	while (ckpt_status_set(by->tid, "\nSigPnd:\t") & bit && n < AT_ONCE &&
	       take(by, sig, &own[n]))
		n++;
	if (n == AT_ONCE)
		r = -EBUSY;
	else
		r = go_round(l, by, true, sig);
	for (uint32_t i = 0; i < n && back >= 0; i++)
		back = put(by, false, sig, &own[i]);
	return r < 0 ? r : back;
}

int64_t ckpt_serve_signals(struct ckpt_parked *p, bool of_process, uint64_t from, uint32_t *lenp)
{
	struct list l = { .info = (void *)ckpt_session->out, .skip = from };
	uint64_t set = ckpt_status_set(p->tid, of_process ? "\nShdPnd:\t" : "\nSigPnd:\t");

	/* What is taken has to be put back. */
	if (of_process && set & ~ckpt_reserved_bit() && !main_thread())
		return -EPERM;
	for (set &= ~ckpt_reserved_bit(); set; set &= set - 1) {
		int sig = __builtin_ctzll(set) + 1;
		int64_t r = of_process ? go_round_process(&l, sig) : go_round(&l, p, false, sig);

		if (r < 0)
			return r;
	}
	*lenp = l.n * sizeof(siginfo_t);
	return l.n;
}
