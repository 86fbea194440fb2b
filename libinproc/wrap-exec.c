/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that was just started has no handler for the reserved signal, and would die of it. So
 * it starts with that signal blocked, until its own library is there. All of this also runs in
 * children of vfork(2), in their parent's memory: nothing is kept outside of the stack.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>
#include "libinproc/wrap.h"

bool ckpt_signal_block(void)
{
	uint64_t bit = ckpt_reserved_bit(), old = 0;

	ckpt_sys(SYS_rt_sigprocmask, SIG_BLOCK, &bit, &old, 8);
	return old & bit;
}

bool ckpt_signal_is_blocked(void)
{
	uint64_t now = 0;

	ckpt_sys(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, 8);
	return now & ckpt_reserved_bit();
}

void ckpt_signal_unblock(void)
{
	uint64_t bit = ckpt_reserved_bit();

	ckpt_sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, 8);
}

static int go_blocked(const struct ckpt_launch *l, char *const envp[])
{
	bool was = ckpt_signal_block();
	int ret = l->go(l, envp);

	if (!was)
		ckpt_signal_unblock();
	return ret;
}

static int go_with(const struct ckpt_launch *l, const struct ckpt_env_plan *plan)
{
	char *slots[plan->slots], joined[plan->text + 1];

	ckpt_env_fill(plan, slots, joined);
	return plan->carries ? go_blocked(l, slots) : l->go(l, slots);
}

int ckpt_launch(const struct ckpt_launch *l, char *const envp[])
{
	struct ckpt_env_plan plan;

	if (!ckpt_config.on)
		return l->go(l, envp);
	ckpt_env_plan(&plan, envp);
	if (plan.carries && !ckpt_program_loads(l))
		plan.carries = false;
	if (plan.slots)
		return go_with(l, &plan);
	return plan.carries ? go_blocked(l, envp) : l->go(l, envp);
}

/* ---- what is behind ---- */

static int go_execve(const struct ckpt_launch *l, char *const envp[])
{
	return REAL(execve)(l->path, l->argv, envp);
}

static int go_execvpe(const struct ckpt_launch *l, char *const envp[])
{
	return REAL(execvpe)(l->path, l->argv, envp);
}

static int go_fexecve(const struct ckpt_launch *l, char *const envp[])
{
	return REAL(fexecve)(l->dirfd, l->argv, envp);
}

static int go_execveat(const struct ckpt_launch *l, char *const envp[])
{
	return REAL(execveat)(l->dirfd, l->path, l->argv, envp, l->flags);
}

/* ---- vectors ---- */

/* What is exported may be another library's; libc does not call through that, nor do we. */
static int exec_path(const char *path, char *const argv[], char *const envp[])
{
	const struct ckpt_launch l = { .go = go_execve,
				       .dirfd = AT_FDCWD,
				       .path = path,
				       .argv = argv };

	return ckpt_launch(&l, envp);
}

static int exec_file(const char *file, char *const argv[], char *const envp[])
{
	const struct ckpt_launch l = { .go = go_execvpe,
				       .dirfd = AT_FDCWD,
				       .path = file,
				       .search = true,
				       .argv = argv };

	return ckpt_launch(&l, envp);
}

CKPT_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return exec_path(path, argv, envp);
}

CKPT_EXPORT int execv(const char *path, char *const argv[])
{
	return exec_path(path, argv, environ);
}

CKPT_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return exec_file(file, argv, envp);
}

CKPT_EXPORT int execvp(const char *file, char *const argv[])
{
	return exec_file(file, argv, environ);
}

CKPT_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	const struct ckpt_launch l = { .go = go_fexecve, .dirfd = fd, .argv = argv };

	return ckpt_launch(&l, envp);
}

CKPT_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[],
			 int flags)
{
	const struct ckpt_launch l = { .go = go_execveat,
				       .dirfd = dirfd,
				       .path = path,
				       .flags = flags,
				       .argv = argv };

	return ckpt_launch(&l, envp);
}

/* ---- lists ---- */

static size_t count(va_list ap)
{
	size_t n = 1;

	while (va_arg(ap, char *))
		n++;
	return n;
}

/* ARGV: FIRST and what follows, with the NULL. AP is left behind it. */
#define LIST(argv, first)               \
	va_list ap;                     \
	va_start(ap, first);            \
	size_t n = count(ap);           \
	va_end(ap);                     \
	char *argv[n + 1];              \
	argv[0] = (char *)(first);      \
	va_start(ap, first);            \
	for (size_t i = 1; i <= n; i++) \
	argv[i] = va_arg(ap, char *)

CKPT_EXPORT int execl(const char *path, const char *arg, ...)
{
	LIST(argv, arg);
	va_end(ap);
	return exec_path(path, argv, environ);
}

CKPT_EXPORT int execlp(const char *file, const char *arg, ...)
{
	LIST(argv, arg);
	va_end(ap);
	return exec_file(file, argv, environ);
}

CKPT_EXPORT int execle(const char *path, const char *arg, ...)
{
	LIST(argv, arg);
	char **envp = va_arg(ap, char **);

	va_end(ap);
	return exec_path(path, argv, envp);
}
