/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the functions that ours stand in front of. All at the start, for dlsym(3) is not safe in a
 * signal handler; one by one for who calls before that: constructors of other libraries.
 */
#include <dlfcn.h>
#include <errno.h>
#include "libinproc/wrap.h"

CKPT_EARLY void *ckpt_reals[CKPT_N_REALS];

static const char names[] =
#define X(name) #name "\0"
	CKPT_REALS(X)
#undef X
	;

/* What a libc that is older than a function says for it. */
static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

static void *find(enum ckpt_real which, const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		f = (void *)absent;
	__atomic_store_n(&ckpt_reals[which], f, __ATOMIC_RELAXED);
	return f;
}

void *ckpt_real_find(enum ckpt_real which)
{
	const char *name = names;
	int saved = errno;
	void *f;

	for (int i = 0; i < (int)which; i++)
		while (*name++)
			;
	f = find(which, name);
	errno = saved;
	return f;
}

void ckpt_wrap_init(char *const env[])
{
	const char *name = names;

	for (int i = 0; i < CKPT_N_REALS; i++) {
		find(i, name);
		while (*name++)
			;
	}
	ckpt_env_init(env);
}

void ckpt_wrap_restored(void)
{
	ckpt_usage_restored();
	ckpt_track_restored();
}

/* The runtime of AddressSanitizer wants to be the first library of a program. It works behind ours,
 * too, for we call nothing but libc, through it. A program that sets its own options wins. */
CKPT_EXPORT const char *__asan_default_options(void);
CKPT_EXPORT const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0";
}
