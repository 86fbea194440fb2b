/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that a signal meets in the vDSO comes back as soon as it has left it, and what it asked
 * the vDSO for is not disturbed. The file under test is part of this program, in place of the
 * library.
 */
#include <sys/auxv.h>
#include <sys/time.h>
#include "tests/lib/tap.h"
#include "libinproc/vdso.c"

#define WANTED 300

struct ckpt_config ckpt_config = { .signal = SIGUSR1 };
static struct ckpt_session session;
struct ckpt_session *ckpt_session = &session;
static volatile uint64_t n_met, n_left, n_back, n_inside, wrong;

bool ckpt_own_read(uint64_t from, void *to, size_t len)
{
	memcpy(to, (const void *)from, len);
	return true;
}

static void on_tick(int sig, siginfo_t *info, void *uc)
{
	const uint64_t *was = is_leaving() ? leaving.at : NULL;

	(void)sig;
	(void)info;
	if (!ckpt_vdso_has(uc))
		return;
	/* Two may meet it in the same function: it comes back once. */
	n_met += !is_leaving();
	n_left += ckpt_vdso_leave(uc, n_met) && leaving.at != was;
}

static void on_return(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	n_back++;
	n_inside += ckpt_vdso_has(uc);
	wrong += (uintptr_t)info->si_value.sival_ptr != n_met;
}

static void take(int sig, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(sig, &act, NULL);
}

int main(void)
{
	struct itimerval each = { { 0, 200 }, { 0, 200 } };
	struct timespec t, last = { 0, 0 };
	struct timeval tv;
	uint64_t n = 0;

	session.pid = ckpt_sys(SYS_getpid);
	ckpt_vdso_init(getauxval(AT_SYSINFO_EHDR));
	if (!ckpt_config.vdso)
		skip_all("there is no vDSO");
	is(header != NULL, 1, "its description is one that we can read");
	take(SIGALRM, on_tick);
	take(SIGUSR1, on_return);
	setitimer(ITIMER_REAL, &each, NULL);
	for (; n_back < WANTED && n < 200000000; n++) {
		wrong += clock_gettime(CLOCK_MONOTONIC, &t) != 0 || gettimeofday(&tv, NULL) != 0;
		wrong += t.tv_sec < last.tv_sec ||
			 (t.tv_sec == last.tv_sec && t.tv_nsec < last.tv_nsec);
		last = t;
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	diag("%llu calls, %llu of them interrupted", (unsigned long long)n,
	     (unsigned long long)n_met);
	is(n_met >= WANTED, 1, "signals have met it there");
	is(n_left, n_met, "a way out was known each time");
	is(n_back, n_left, "each came back");
	is(n_inside, 0, "none of them in there");
	is(wrong, 0, "nothing was disturbed");
	return tap_end();
}
