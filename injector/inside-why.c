/* SPDX-License-Identifier: Apache-2.0 */
/* Can a process be asked for a checkpoint, and if it does not answer, why not? All of it as /proc
 * shows it; nothing is sent. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/freeze.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"
#include "injector/target.h"

#define STATUS 8192
#define NAP_NS 200000000
#define TRACED_MS 1000
#define ENVIRON (1u << 20)
#define LIBRARY "libckpt-inproc.so"
#define VARIABLE "CKPT_SIGNAL="

/* What the program was started with. It may have written over it since: 0. */
static int signal_of(pid_t pid)
{
	CKPT_FREE char *text = malloc(ENVIRON);
	int n = text ? ckpt_proc_read(ckpt_target_acts(pid), "environ", text, ENVIRON) : -1;

	for (int at = 0; n > 0 && at < n; at += strlen(text + at) + 1)
		if (!strncmp(text + at, VARIABLE, sizeof(VARIABLE) - 1))
			return atoi(text + at + sizeof(VARIABLE) - 1);
	return 0;
}

/* 1 yes, 0 no, negative: it may not be looked at. */
static int has_library(pid_t pid)
{
	char path[32], *line = NULL;
	size_t size = 0;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", ckpt_target_acts(pid));
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!found && getline(&line, &size, f) > 0)
		found = strstr(line, "/" LIBRARY) != NULL;
	free(line);
	fclose(f);
	return found;
}

static bool has_bit(const char *status, const char *key, int signal)
{
	return ckpt_status_number(status, key, 16) >> (signal - 1) & 1;
}

static int check_owner(pid_t pid, const char *status, struct ckpt_err *err)
{
	uid_t uid = ckpt_status_number(status, "Uid", 10);

	if (geteuid() == 0 || uid == geteuid())
		return 0;
	return ckpt_refuse(err, CKPT_E_NOT_PERMITTED, -EPERM,
			   "process %d: it belongs to another user", pid);
}

/* Whoever stopped it by ptrace may be another dump, or somebody who only looks: that passes. */
static void read_stat(pid_t pid, struct ckpt_proc_stat *st)
{
	for (int i = 0; i < TRACED_MS; i++) {
		if (ckpt_proc_stat(pid, st) < 0)
			st->state = 'X';
		if (st->state != 't')
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static int check_state(pid_t pid, struct ckpt_err *err)
{
	struct ckpt_proc_stat st;

	read_stat(pid, &st);
	if (st.state == 'Z' && st.n_threads > 1) /* its main thread only */
		return 0;
	if (st.state == 'Z' || st.state == 'X')
		return ckpt_refuse(err, CKPT_E_NO_SUCH_PROCESS, -ESRCH, "process %d: it has ended",
				   pid);
	if (st.state == 'T' || st.state == 't')
		return ckpt_refuse(err, CKPT_E_STOPPED, -EBUSY,
				   "process %d: it is stopped and cannot answer", pid);
	return 0;
}

/* The handler would be under the filter as well, which might end the program for what it does. */
static int check_filter(void *arg, pid_t tid, struct ckpt_err *err)
{
	char status[STATUS];

	(void)arg;
	if (ckpt_proc_read(tid, "status", status, sizeof(status)) < 0 ||
	    !ckpt_status_number(status, "Seccomp", 10))
		return 0;
	return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM,
			   "thread %d: it runs under seccomp, which the library cannot work under",
			   tid);
}

static bool is_missing(pid_t pid, const char *name)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/root%s", pid, name);
	return faccessat(AT_FDCWD, path, F_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) < 0 &&
	       errno == ENOENT;
}

/* After chroot(2): the library reads /proc, as everybody does. Who is about to end has no root. */
static int check_root(pid_t pid, struct ckpt_err *err)
{
	pid_t tid = ckpt_target_acts(pid);

	if (!is_missing(tid, "/proc/self") || is_missing(tid, "/."))
		return 0;
	return ckpt_refuse(err, CKPT_E_INSIDE_NO_PROC, -ENOENT,
			   "process %d: its root directory has no /proc", pid);
}

int ckpt_inside_check(pid_t pid, int *signalp, struct ckpt_err *err)
{
	char status[STATUS];
	int r;

	r = ckpt_target_status(pid, status, sizeof(status), err);
	if (r >= 0)
		r = check_owner(pid, status, err);
	if (r >= 0)
		r = check_state(pid, err);
	if (r >= 0)
		r = check_root(pid, err);
	if (r >= 0)
		r = ckpt_each_thread(pid, check_filter, NULL, err);
	if (r < 0)
		return r;
	if (!*signalp)
		*signalp = signal_of(pid);
	if (*signalp <= 0 || *signalp > 64)
		*signalp = CKPT_INSIDE_SIGNAL;
	/* While it executes a program it has no handler for a moment, but then it has none. */
	if (has_library(pid) && has_bit(status, "SigCgt", *signalp))
		return 0;
	if (has_library(pid) && has_bit(status, "SigIgn", *signalp))
		return ckpt_refuse(
			err, CKPT_E_NOT_PRELOADABLE, -ENOSYS,
			"process %d: it ignores signal %d, as where its system calls may "
			"be dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH)",
			pid, *signalp);
	return ckpt_refuse(err, CKPT_E_NO_LIBRARY, -ENOSYS,
			   "process %d: it does not run with ckpt's library", pid);
}

struct look {
	const struct ckpt_inside *in;
	struct ckpt_member *m;
	pid_t blocks;
	uint64_t ran;
};

/* Of a thread that has been called. Nobody is parked any more: that looks the same. It is certain
 * where the thread has slept since the last look: libc blocks signals for a moment, too, which may
 * be a long one where there are more threads than processors. */
static int blocks(struct look *look, pid_t tid, char state, const char *status,
		  struct ckpt_err *err)
{
	const struct ckpt_member *m = look->m;

	look->blocks = tid;
	look->ran = ckpt_status_number(status, "voluntary_ctxt_switches", 10);
	if ((m->blocks != tid || m->blocks_ran != look->ran || state != 'S') &&
	    ckpt_now_ns() < look->in->deadline)
		return 0;
	return ckpt_refuse(err, CKPT_E_SIGNAL_BLOCKED, -EBUSY,
			   "process %d: thread %d blocks signal %d", m->pid, tid,
			   look->in->opts.signal);
}

static int look_at_thread(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct look *look = arg;
	char status[STATUS], wchan[64] = "";
	struct ckpt_proc_stat st;

	if (ckpt_proc_read(tid, "status", status, sizeof(status)) < 0 ||
	    ckpt_proc_stat(tid, &st) < 0)
		return 0;
	if (has_bit(status, "SigBlk", look->in->opts.signal) &&
	    has_bit(status, "SigPnd", look->in->opts.signal))
		return blocks(look, tid, st.state, status, err);
	if (st.state != 'D' || ckpt_now_ns() < look->in->deadline)
		return 0;
	/* A moment of it is nothing unusual. */
	nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
	if (ckpt_proc_stat(tid, &st) < 0 || st.state != 'D')
		return 0;
	ckpt_proc_read(tid, "wchan", wchan, sizeof(wchan));
	return ckpt_refuse(err, CKPT_E_NO_ANSWER, -EBUSY,
			   "process %d: thread %d waits in the kernel (%s)", look->m->pid, tid,
			   wchan);
}

static void close_dir(DIR **dirp)
{
	if (*dirp)
		closedir(*dirp);
}

/* Its library cannot connect then. */
static int look_at_numbers(pid_t pid, struct ckpt_err *err)
{
	struct rlimit limit;
	char path[32];
	rlim_t used = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", ckpt_target_acts(pid));
	__attribute__((cleanup(close_dir))) DIR *dir = opendir(path);
	if (!dir || prlimit(pid, RLIMIT_NOFILE, NULL, &limit) < 0)
		return 0;
	for (struct dirent *e; (e = readdir(dir));)
		used += e->d_name[0] != '.' && strtoull(e->d_name, NULL, 10) < limit.rlim_cur;
	return used < limit.rlim_cur ?
		       0 :
		       ckpt_refuse(err, CKPT_E_NO_ANSWER, -EMFILE,
				   "process %d: it has no descriptor left for its answer "
				   "(RLIMIT_NOFILE)",
				   pid);
}

int ckpt_inside_why(const struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	struct look look = { in, m, 0, 0 };
	int r = check_state(m->pid, err);

	if (r == -ESRCH)
		return m == in->members ?
			       ckpt_refuse(err, CKPT_E_VANISHED, r,
					   "process %d: it ended before it answered", m->pid) :
			       0;
	/* It has connected and says nothing: only hooks come in between, and its leader blocks all
	 * signals as long. */
	if (r >= 0 && m->sock >= 0 && m->state == CKPT_MEMBER_RUNS)
		return ckpt_now_ns() < in->deadline ?
			       0 :
			       ckpt_refuse(err, CKPT_E_NO_ANSWER, -ETIMEDOUT,
					   "process %d: a hook of it has not returned for %u s",
					   m->pid, in->opts.wait_s);
	/* It may have executed a program since, or be at it. */
	if (r >= 0 && ckpt_now_ns() > in->deadline) {
		int signal = in->opts.signal;

		r = ckpt_inside_check(m->pid, &signal, err);
		if (r >= 0)
			r = look_at_numbers(m->pid, err);
	}
	if (r >= 0)
		r = ckpt_each_thread(m->pid, look_at_thread, &look, err);
	m->blocks = look.blocks;
	m->blocks_ran = look.ran;
	return r;
}
