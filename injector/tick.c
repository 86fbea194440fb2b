/* SPDX-License-Identifier: Apache-2.0 */
/* While a tree is being stopped: waits do not last for ever, and processors are quick to wake. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/tick.h"

#define SIGNAL SIGRTMAX

static void on_tick(int sig)
{
	(void)sig;
}

/* A sleeping processor takes longer to wake up than a thread to stop. Only root may ask for this;
 * it ends with the descriptor. */
static int hold_awake(void)
{
	int32_t us = 0;
	int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, &us, sizeof(us)) == sizeof(us))
		return fd;
	close(fd);
	return -1;
}

static bool start_timer(struct ckpt_tick *tick)
{
	const struct itimerspec often = { { 0, CKPT_TICK_NS }, { 0, CKPT_TICK_NS } };
	struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL };

	e._sigev_un._tid = syscall(SYS_gettid); /* not every C library has a name for it */
	if (timer_create(CLOCK_MONOTONIC, &e, &tick->timer) < 0)
		return false;
	return !timer_settime(tick->timer, 0, &often, NULL) || timer_delete(tick->timer) < 0;
}

void ckpt_tick_start(struct ckpt_tick *tick)
{
	const struct sigaction sa = { .sa_handler = on_tick }; /* without SA_RESTART */
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, &tick->mask);
	tick->taken = !sigaction(SIGNAL, &sa, &tick->action);
	tick->runs = tick->taken && start_timer(tick);
	tick->awake = hold_awake();
}

/* Not blocked, its last signal has been taken by the time that timer_delete() returns. A timer that
 * stays keeps its handler: the default action would end us. */
void ckpt_tick_stop(struct ckpt_tick *tick)
{
	ckpt_close_fd(&tick->awake);
	if (tick->runs && timer_delete(tick->timer) < 0)
		return;
	if (tick->taken)
		sigaction(SIGNAL, &tick->action, NULL);
	pthread_sigmask(SIG_SETMASK, &tick->mask, NULL);
}
