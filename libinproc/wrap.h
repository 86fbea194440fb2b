/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the functions that stand in front of libc's share. Names that programs call all the time
 * (open, read, close, malloc, poll, fork, pthread_create, ...) are not among them, on purpose.
 */
#pragma once
#include <sys/prctl.h>
#include <sys/resource.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

/* The functions behind ours: libc's, or those of another preloaded library. */
/* clang-format off */
#define CKPT_REALS(X) \
	X(sigaction) X(__sigaction) X(signal) X(sysv_signal) X(sigset) X(siginterrupt) \
	X(sigprocmask) X(pthread_sigmask) X(sigsuspend) X(sigpause) X(__sigpause) X(sighold) \
	X(sigrelse) X(sigblock) X(sigsetmask) X(sigpending) \
	X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(signalfd) \
	X(ppoll) X(__ppoll_chk) X(pselect) X(epoll_pwait) X(epoll_pwait2) \
	X(pthread_attr_setsigmask_np) X(__libc_current_sigrtmin) X(__libc_current_sigrtmax) \
	X(__libc_allocate_rtsig) \
	X(execve) X(execvpe) X(fexecve) X(execveat) X(posix_spawn) X(posix_spawnp) X(system) X(popen) \
	X(unlink) X(unlinkat) X(remove) X(rename) X(renameat) X(renameat2) X(shm_unlink) X(sem_unlink) \
	X(getrusage) X(times) X(prctl)
/* clang-format on */

enum ckpt_real {
#define X(name) CKPT_REAL_##name,
	CKPT_REALS(X)
#undef X
		CKPT_N_REALS
};
extern void *ckpt_reals[CKPT_N_REALS];
void *ckpt_real_find(enum ckpt_real which);

static inline void *ckpt_real(enum ckpt_real which)
{
	void *f = __atomic_load_n(&ckpt_reals[which], __ATOMIC_RELAXED);

	return f ? f : ckpt_real_find(which);
}
/* REAL(sigaction)(sig, act, old) */
#define REAL_AS(type, name) ((__typeof__(type) *)ckpt_real(CKPT_REAL_##name))
#define REAL(name) REAL_AS(name, name)

/* A copy without the reserved signal; COPY must live as long as the call. Null stays null. */
static inline const sigset_t *ckpt_stripped(const sigset_t *set, sigset_t *copy)
{
	if (!set || !ckpt_config.on)
		return set;
	*copy = *set;
	ckpt_strip(copy);
	return copy;
}

/* ---- wrap.c ---- */
/* At the start of the program, by init.c: finds what is behind, and keeps of the environment what
 * the program's children need. Whatever is called before works, too. */
void ckpt_wrap_init(char *const env[]);
/* In the program that a restore brought back, before anybody goes on. */
void ckpt_wrap_restored(void);

/* A child of vfork(2) is in its parent's memory. (0: nobody knows yet, and asking could end a child
 * in a sandbox; all that depends on it is memory of little importance.) */
static inline bool ckpt_is_own_memory(void)
{
	pid_t owner = ckpt_session ? ckpt_session->pid : 0;

	return !owner || owner == ckpt_sys(SYS_getpid);
}

/* ---- wrap-syscall.c: syscall(2) of libc, and where it executes ---- */
/* The instruction, and the one behind it; there the word at the stack pointer is the number of the
 * call. */
extern const char ckpt_syscall_insn[], ckpt_syscall_insn_after[];
/* As libc's; the number is where windback.c finds it. */
long ckpt_syscall_raw(long nr, long a, long b, long c, long d, long e, long f);

/* ---- wrap-env.c: the environment of programs that this one starts ---- */
#define CKPT_KEPT_MAX 28 /* a bit each in a uint32_t */

struct ckpt_env_plan {
	char *const *envp;
	size_t n;            /* entries there are */
	size_t slots;        /* of the new one, with the NULL; 0: it stays as it is */
	size_t text;         /* bytes for the new LD_PRELOAD */
	const char *preload; /* theirs, without us; NULL: they have none */
	size_t preload_at;   /* which entry */
	uint32_t missing;    /* bit I: our Ith variable */
	bool carries;        /* the new program will have the library, with the same signal */
};
void ckpt_env_init(char *const env[]);
void ckpt_env_plan(struct ckpt_env_plan *plan, char *const envp[]);
void ckpt_env_fill(const struct ckpt_env_plan *plan, char **slots, char *text);

/* ---- wrap-exec.c ---- */
/* A program that is about to be started, in place of this one or beside it. */
struct ckpt_launch {
	int (*go)(const struct ckpt_launch *l, char *const envp[]);
	int dirfd;
	const char *path; /* NULL: the program is DIRFD itself */
	bool search;      /* on $PATH, if there is no slash in it */
	int flags;
	char *const *argv;
	pid_t *pidp;
	const void *actions, *attr; /* of posix_spawn() */
};
/* Starts it with the environment that it needs; the reserved signal is blocked meanwhile, for the
 * new program has no handler before its own library is there. Returns what GO returns. */
int ckpt_launch(const struct ckpt_launch *l, char *const envp[]);
/* Blocks the reserved signal in this thread; was it blocked before? */
bool ckpt_signal_block(void);
bool ckpt_signal_is_blocked(void);
void ckpt_signal_unblock(void);

/* ---- wrap-loads.c ---- */
/* Will the dynamic linker put the library into that program? True in doubt. */
bool ckpt_program_loads(const struct ckpt_launch *l);

/* ---- wrap-usage.c ---- */
/* A child of the library's own was reaped: what getrusage() and times() say of children before and
 * after. From then on the program does not see the difference. */
void ckpt_usage_hide(const struct rusage *before, const struct rusage *after);
/* After a restore: the kernel counts from zero again. */
void ckpt_usage_restored(void);

/* ---- track-maps.c ---- */
/* Looks for one file, and tells of all that are mapped. */
struct ckpt_scan {
	uint64_t dev, ino; /* of stat(2) */
	const char *base;  /* the last part of its path */
	void (*each)(struct ckpt_scan *s, uint64_t dev, uint64_t ino);
	uint64_t seen; /* for EACH */
	bool mapped;
	uint64_t mapped_dev; /* as in /proc/self/maps */
};
bool ckpt_scan_maps(struct ckpt_scan *s);

/* ---- track.c ---- */
/* A name in the folder DIRFD is about to go. Returns what ckpt_track_end() wants: -1, or the entry
 * that holds the file, for it is mapped. */
int ckpt_track_begin(int dirfd, const char *path);
/* GONE: it did. errno stays as it is. */
void ckpt_track_end(int held, bool gone);
void ckpt_track_fork_begin(void);
void ckpt_track_fork_end(void);
/* The restored descriptors may hold other files, with the same contents. */
void ckpt_track_restored(void);
