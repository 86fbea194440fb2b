/* SPDX-License-Identifier: Apache-2.0 */
/* Areas that are read before the freeze: believed where nobody has run since, and nowhere else. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>
#include "injector/quiet.h"
#include "tests/lib/frozen.h"

#define AREAS 2200 /* enough to be worth it, also with threads */
#define PAGE 4096
#define ROUNDS 60

static char *memory;

static void make_areas(size_t n)
{
	memory = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < n; i += 2)
		mprotect(memory + i * PAGE, PAGE, PROT_READ);
}

/* No line of maps shows it. */
static void change_flags(void)
{
	static bool on;

	on = !on;
	madvise(memory + 100 * PAGE, PAGE, on ? MADV_DONTFORK : MADV_DOFORK);
}

static void few(void)
{
	idle();
}

static void many(void)
{
	make_areas(AREAS);
	idle();
}

static void busy(void)
{
	make_areas(AREAS);
	frozen.page->count++;
	for (;;)
		frozen.page->other++;
}

static void *wait_for_ever(void *arg)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;

	pthread_mutex_lock(&m);
	frozen.page->count++;
	for (;;)
		pthread_cond_wait(&c, &m);
	return arg;
}

/* epoll_wait(2) is one of the calls that a stop ends. */
static void server(void)
{
	struct epoll_event e;
	pthread_t t;

	make_areas(AREAS);
	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, wait_for_ever, NULL);
	frozen.page->count++;
	for (int fd = epoll_create1(0);;)
		epoll_wait(fd, &e, 1, -1);
}

static void on_signal(int sig)
{
	(void)sig;
	change_flags();
	frozen.page->other++;
}

/* Its call goes on after the handler as if nothing had been. */
static void handler(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int end[2];
	char byte;

	make_areas(AREAS);
	sigaction(SIGUSR1, &sa, NULL);
	if (pipe(end) < 0)
		_exit(1);
	frozen.page->count++;
	for (;;)
		if (read(end[0], &byte, 1) < 0)
			_exit(1);
}

static void sleeper(void)
{
	unsigned int seed = getpid();

	make_areas(AREAS);
	frozen.page->count++;
	for (;;) {
		usleep(rand_r(&seed) % 20000);
		change_flags();
	}
}

static void spawner(void)
{
	make_areas(AREAS);
	frozen.page->count++;
	for (;;) {
		pthread_t t;

		usleep(20000);
		pthread_create(&t, NULL, wait_for_ever, NULL);
	}
}

/* ---- */

static bool same_areas(const struct ckpt_maps_before *b, pid_t pid)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_map *m;
	char path[32];
	size_t n;
	int fd, r;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	fd = open(path, O_RDONLY);
	r = ckpt_maps_read(frozen.arena, fd, &m, &n, &err);
	close(fd);
	if (r < 0 || n != b->n)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct ckpt_map *x = &m[i], *y = &b->map[i];

		if (x->start != y->start || x->end != y->end || x->prot != y->prot ||
		    x->flags != y->flags || x->offset != y->offset || strcmp(x->name, y->name))
			return false;
	}
	return true;
}

enum outcome { NOT_READ, NOT_BELIEVED, RIGHT, WRONG };

/* BETWEEN: what happens to it after its areas were read. */
static enum outcome try_once(pid_t pid, void (*between)(pid_t pid))
{
	struct ckpt_arena *arena;
	struct ckpt_maps_before *b;
	enum outcome outcome;

	if (ckpt_arena_open(&arena, 1ul << 30, &frozen.err) < 0)
		exit(1);
	b = ckpt_quiet_read(arena, pid);
	if (b && between)
		between(pid);
	if (!b)
		outcome = NOT_READ;
	else if (!freeze_tree(pid))
		exit(1);
	else if (!b->still_true(b, frozen.src, frozen.task[0].tids, frozen.task[0].n_tids))
		outcome = NOT_BELIEVED;
	else
		outcome = same_areas(b, pid) ? RIGHT : WRONG;
	if (b) {
		let_go();
		b->close(b);
	}
	ckpt_arena_close(arena);
	return outcome;
}

static enum outcome try_one(void (*run)(void), uint64_t n, void (*between)(pid_t pid))
{
	pid_t pid = spawn(run);
	enum outcome outcome;

	wait_count(n);
	usleep(50000); /* until it waits */
	outcome = try_once(pid, between);
	end_process(pid);
	return outcome;
}

static void interrupt(pid_t pid)
{
	kill(pid, SIGUSR1);
	for (int i = 0; i < 5000 && !frozen.page->other; i++)
		usleep(1000);
	usleep(20000); /* until it waits again */
}

/* Where a program changes its areas all the time what is believed is right. */
static void test_rounds(void (*run)(void), const char *name)
{
	unsigned int n[4] = { 0 };
	char text[200];
	pid_t pid = spawn(run);

	wait_count(1);
	for (int i = 0; i < ROUNDS; i++)
		n[try_once(pid, NULL)]++;
	end_process(pid);
	snprintf(text, sizeof(text), "%s: not read %u, not believed %u, right %u, wrong %u", name,
		 n[NOT_READ], n[NOT_BELIEVED], n[RIGHT], n[WRONG]);
	report(!n[WRONG], text);
}

int main(void)
{
	if (try_one(many, 1, NULL) == NOT_READ) {
		printf("1..0 # SKIP no breakpoints of perf_event_open here\n");
		return 77;
	}
	report(try_one(few, 1, NULL) == NOT_READ, "of few areas nothing is read");
	report(try_one(busy, 1, NULL) == NOT_READ, "of a program that runs nothing is read");
	report(try_one(many, 1, NULL) == RIGHT, "a program that waits is believed");
	report(try_one(server, 4, NULL) == RIGHT, "also with threads, in a call that stops end");
	report(try_one(handler, 1, NULL) == RIGHT, "and where it could be interrupted");
	report(try_one(handler, 1, interrupt) == NOT_BELIEVED,
	       "unless it was, and went back to its call");
	test_rounds(sleeper, "a program that changes its areas now and then");
	test_rounds(spawner, "a program that gets more threads");
	return report_end();
}
