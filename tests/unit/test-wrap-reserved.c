/* SPDX-License-Identifier: Apache-2.0 */
/* With the preloaded library: its signal can be neither blocked nor taken, and nobody notices. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include "tests/unit/wrap-self.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

int __libc_current_sigrtmin(void);
int __libc_current_sigrtmax(void);

static void catch (int sig)
{
	(void)sig;
}

static uint64_t status_mask(const char *path, const char *name)
{
	char line[256];
	unsigned long long mask = 0;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, strlen(name)))
			mask = strtoull(line + strlen(name) + 1, NULL, 16);
	}
	if (f)
		fclose(f);
	return mask;
}

static uint64_t mine(const char *name)
{
	return status_mask("/proc/self/status", name);
}

static bool is_free(int sig)
{
	uint64_t bit = 1ull << (sig - 1);

	return !(mine("SigBlk") & bit) && (mine("SigCgt") & bit) && !(mine("SigIgn") & bit);
}

static void test_reserved_masks(int sig)
{
	sigset_t set, old, none = set_of(0);

	sigfillset(&set);
	ok(is_free(sig), "the reserved signal is caught and not blocked");
	sigprocmask(SIG_SETMASK, &set, NULL);
	ok(is_free(sig) && !blocked(sig), "sigprocmask() does not block it");
	is(mine("SigBlk") & 1ull << (SIGUSR1 - 1), 1ull << (SIGUSR1 - 1), "but others");
	ok(sigismember(&set, sig), "what the program gave is left alone");
	pthread_sigmask(SIG_BLOCK, &set, &old);
	ok(is_free(sig) && !sigismember(&old, sig), "nor does pthread_sigmask()");
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8l);
	ok(is_free(sig), "nor syscall()");
	sigprocmask(SIG_SETMASK, &none, NULL);
	is(sighold(sig), 0, "sighold()");
	ok(is_free(sig), "does not");
	is(sigrelse(sig), 0, "nor sigrelse()");
	ok(is_free(sig), "anything");
	sigblock(-1);
	ok(is_free(sig), "sigblock() neither");
	sigsetmask(-1);
	ok(is_free(sig), "nor sigsetmask()");
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void test_reserved_actions(int sig)
{
	struct sigaction act = { .sa_handler = catch, .sa_flags = SA_NODEFER }, old;

	sigaddset(&act.sa_mask, SIGHUP);
	is(sigaction(sig, NULL, &old), 0, "the action of the reserved signal");
	ok(old.sa_handler == SIG_DFL, "is said to be the default");
	is(sigaction(sig, &act, &old), 0, "it can be set");
	is(sigaction(sig, NULL, &old), 0, "and asked for");
	ok(old.sa_handler == catch && old.sa_flags == SA_NODEFER &&
		   sigismember(&old.sa_mask, SIGHUP),
	   "and is the same");
	ok(is_free(sig), "but it is caught as before");
	ok(signal(sig, SIG_IGN) == catch, "signal() gives the old one");
	ok(is_free(sig), "and changes nothing");
	ok(sysv_signal(sig, catch) == SIG_IGN, "sysv_signal()");
	ok(sigset(sig, SIG_HOLD) == catch, "sigset()");
	is(sigignore(sig), 0, "sigignore()");
	is(siginterrupt(sig, 1), 0, "siginterrupt()");
	ok(sigset(sig, SIG_DFL) == SIG_IGN, "all are remembered");
	ok(signal(sig, SIG_ERR) == SIG_ERR && errno == EINVAL, "no handler at all");
	ok(is_free(sig), "and none is done");
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} raw = { catch, 0, NULL, 0 }, was;

	is(syscall(SYS_rt_sigaction, sig, &raw, &was, 8l), 0, "nor by its number");
	is(syscall(SYS_rt_sigaction, sig, NULL, &was, 8l), 0, "which remembers");
	ok(was.handler == catch, "the same");
	ok(is_free(sig), "and does nothing");
	sigfillset(&act.sa_mask);
	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGUSR1, NULL, &old);
	ok(!sigismember(&old.sa_mask, sig) && sigismember(&old.sa_mask, SIGHUP),
	   "no handler blocks it");
}

static pid_t waiting;

static void *wait_masked(void *arg)
{
	sigset_t set;

	waiting = gettid();
	sigfillset(&set);
	if (*(int *)arg)
		ppoll(NULL, 0, NULL, &set);
	else
		syscall(SYS_ppoll, NULL, 0l, NULL, &set, 8l);
	return NULL;
}

static void test_reserved_waits(int sig)
{
	char path[64];
	uint64_t mask;

	for (int by_name = 0; by_name < 2; by_name++) {
		pthread_t t;

		must(!pthread_create(&t, NULL, wait_masked, &by_name), "a thread waits");
		usleep(20000);
		snprintf(path, sizeof(path), "/proc/self/task/%d/status", waiting);
		mask = status_mask(path, "SigBlk");
		ok(!(mask & 1ull << (sig - 1)) && mask & 1, "which does not block it meanwhile");
		pthread_cancel(t);
		if (by_name)
			pthread_join(t, NULL);
		else
			pthread_detach(t); /* syscall() is no place to be cancelled at */
	}
}

static void *mask_of_thread(void *arg)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", gettid());
	*(uint64_t *)arg = status_mask(path, "SigBlk");
	return NULL;
}

static void test_reserved_thread(int sig)
{
	pthread_attr_t attr;
	uint64_t mask = 0;
	sigset_t set;
	pthread_t t;

	sigfillset(&set);
	pthread_attr_init(&attr);
	is(pthread_attr_setsigmask_np(&attr, &set), 0, "the mask of a thread");
	must(!pthread_create(&t, &attr, mask_of_thread, &mask), "a thread");
	pthread_join(t, NULL);
	pthread_attr_destroy(&attr);
	ok(mask & 1 && !(mask & 1ull << (sig - 1)), "is without it");
}

static void test_reserved(int sig)
{
	int low, high;

	test_reserved_masks(sig);
	test_reserved_actions(sig);
	test_reserved_waits(sig);
	test_reserved_thread(sig);
	low = __libc_current_sigrtmin();
	high = __libc_current_sigrtmax();
	is(low, sig == 34 ? 35 : 34, "the first of the range");
	is(high, sig == 64 ? 63 : 64, "and the last");
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		test_reserved(atoi(argv[1]));
		return tap_end();
	}
	is(run_self("64", "64"), 0, "the last one is reserved");
	is(run_self("12", "12"), 0, "SIGUSR2 is");
	is(run_self("34", "34"), 0, "the first real-time one is");
	is(run_self("40", "40"), 0, "one in the middle is");
	return tap_end();
}
