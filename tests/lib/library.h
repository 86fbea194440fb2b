/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What parts of the preloaded library expect of the rest of it, for a program that includes their
 * sources: a session, and locks, without a handler.
 */
#pragma once
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include "libinproc/inproc.h"
#include "libinproc/wrap.h"

static struct ckpt_session session;
struct ckpt_session *ckpt_session = &session;
char *ckpt_stacks;
struct ckpt_config ckpt_config = { .on = true, .signal = CKPT_SIGNAL_DEFAULT };

void *ckpt_reals[CKPT_N_REALS];

void *ckpt_real_find(enum ckpt_real which)
{
	static const char *const names[] = {
#define X(name) #name,
		CKPT_REALS(X)
#undef X
	};
	extern void *dlsym(void *handle, const char *name);

	return dlsym((void *)-1l, names[which]); /* RTLD_NEXT */
}

void ckpt_lock(uint32_t *word)
{
	while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

void ckpt_unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

static long n_threads = 1;

long ckpt_n_threads(void)
{
	return n_threads;
}

int ckpt_stack_take(struct ckpt_session *s)
{
	static char stack[CKPT_STACK] __attribute__((aligned(16)));

	(void)s;
	ckpt_stacks = stack;
	return 0;
}

void ckpt_stack_give_back(struct ckpt_session *s, int i)
{
	(void)s;
	(void)i;
}

int ckpt_open_task(pid_t tid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}
