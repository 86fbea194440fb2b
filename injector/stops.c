/* SPDX-License-Identifier: Apache-2.0 */
/* SIGXFSZ is among the blocked ones: a file that gets too large is to be an error of write(2). */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "injector/stops.h"

void ckpt_stops_block(struct ckpt_stops *s)
{
	static const int stops[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGQUIT, SIGPIPE };
	sigset_t blocked;

	sigemptyset(&s->watched);
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		struct sigaction sa;

		if (!sigaction(stops[i], NULL, &sa) && sa.sa_handler != SIG_IGN)
			sigaddset(&s->watched, stops[i]);
	}
	blocked = s->watched;
	sigaddset(&blocked, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &blocked, &s->old_mask);
}

int ckpt_stops_pending(const struct ckpt_stops *s)
{
	sigset_t pending;

	if (sigpending(&pending) < 0)
		return 0;
	for (int sig = 1; sig < 32; sig++)
		if (sigismember(&pending, sig) > 0 && sigismember(&s->watched, sig) > 0)
			return sig;
	return 0;
}

int ckpt_stops_check(const struct ckpt_stops *s, pid_t pid, const char *what, struct ckpt_err *err)
{
	int sig = ckpt_stops_pending(s);

	return sig ? ckpt_fail(err, -ECANCELED,
			       "process %d: %s stopped by SIG%s, the process goes on", pid, what,
			       sigabbrev_np(sig)) :
		     0;
}

void ckpt_stops_unblock(struct ckpt_stops *s, bool reported)
{
	static const struct timespec now;
	sigset_t taken;

	sigemptyset(&taken);
	if (reported)
		taken = s->watched;
	if (!sigismember(&s->old_mask, SIGXFSZ))
		sigaddset(&taken, SIGXFSZ);
	for (int i = 0; i < _NSIG && sigtimedwait(&taken, NULL, &now) > 0; i++)
		;
	sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
}
