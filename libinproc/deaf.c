/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that the reserved signal does not reach at once. Those that libc makes for itself (POSIX
 * timers and message queues with SIGEV_THREAD, asynchronous I/O) block every signal but the one by
 * which setuid(2) comes to all threads. While the leader waits for all, that one parks, too, if the
 * requester sends it; what libc sends goes on to libc.
 */
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

/* A fork's child that was made meanwhile has it, too. */
static struct ckpt_action theirs;

static void on_libc_signal(int sig, siginfo_t *info, void *uc)
{
	void (*handler)(int, siginfo_t *, void *) =
		(void (*)(int, siginfo_t *, void *))theirs.handler;

	if (info->si_code == SI_QUEUE)
		ckpt_on_signal(sig, info, uc);
	else
		handler(sig, info, uc);
}

void ckpt_deaf_begin(void)
{
	struct ckpt_action ours = { on_libc_signal, SA_SIGINFO | SA_RESTART | CKPT_RESTORER,
				    ckpt_restorer, ~0ull };
	struct ckpt_action now = { 0 };

	/* Before libc has threads it has no handler. */
	ckpt_sys(SYS_rt_sigaction, CKPT_WIRE_LIBC_SIGNAL, NULL, &now, 8);
	if ((uintptr_t)now.handler <= 1 || now.handler == (void *)on_libc_signal)
		return;
	theirs = now;
	ours.flags |= now.flags & SA_ONSTACK;
	ckpt_sys(SYS_rt_sigaction, CKPT_WIRE_LIBC_SIGNAL, &ours, NULL, 8);
}

void ckpt_deaf_end(void)
{
	struct ckpt_action now = { 0 };

	ckpt_sys(SYS_rt_sigaction, CKPT_WIRE_LIBC_SIGNAL, NULL, &now, 8);
	if (now.handler == (void *)on_libc_signal)
		ckpt_sys(SYS_rt_sigaction, CKPT_WIRE_LIBC_SIGNAL, &theirs, NULL, 8);
}

void ckpt_ask_again(struct ckpt_session *s)
{
	pid_t tid = ckpt_sys(SYS_gettid);

	for (int i = 0; i < CKPT_N_AGAIN; i++) {
		pid_t none = 0;

		if (__atomic_compare_exchange_n(&s->again[i], &none, tid, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return;
	}
}

bool ckpt_call_again(struct ckpt_session *s)
{
	siginfo_t info = { 0 };
	bool any = false;

	info.si_code = SI_QUEUE;
	for (int i = 0; i < CKPT_N_AGAIN; i++) {
		pid_t tid = __atomic_exchange_n(&s->again[i], 0, __ATOMIC_SEQ_CST);

		any |= tid != 0;
		if (tid)
			ckpt_sys(SYS_rt_tgsigqueueinfo, s->pid, tid, ckpt_config.signal, &info);
	}
	return any;
}
