/* SPDX-License-Identifier: Apache-2.0 */
/* Can a process be dumped from outside at all? */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/target.h"

#define KERNEL_THREAD 0x200000 /* PF_KTHREAD of include/linux/sched.h, in the flags of stat */
#define ANCESTORS_MAX 100000
#define STATUS 8192
#define OPENS_MAX 100
#define LOOKS 5
#define TRACER_MS 2000
#define NAP_NS 1000000

int ckpt_target_check_self(pid_t pid, struct ckpt_err *err)
{
	struct ckpt_proc_stat st;
	pid_t p = getpid();

	for (int i = 0; p > 0 && i < ANCESTORS_MAX; i++) {
		if (p == pid)
			return ckpt_refuse(
				err, CKPT_E_SELF_IN_TREE, -EDEADLK,
				"process %d: ckpt itself (process %d) is part of its tree", pid,
				getpid());
		if (ckpt_proc_stat(p, &st) < 0)
			return 0;
		p = st.ppid;
	}
	return 0;
}

static int pick_living(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct ckpt_proc_stat st;

	(void)err;
	if (ckpt_proc_stat(tid, &st) < 0 || st.state == 'Z' || st.state == 'X')
		return 0;
	*(pid_t *)arg = tid;
	return -EALREADY; /* mostly it is the main thread, which comes first */
}

pid_t ckpt_target_acts(pid_t pid)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	pid_t acts = pid;

	ckpt_each_thread(pid, pick_living, &acts, &ignored);
	return acts;
}

/* That of a thread that lives: a main thread that has ended has none any more. */
static int open_memory(pid_t pid)
{
	char path[32];

	/* There is none for a moment when a thread executes a program, until it has become the
	 * leader; and the one that was picked may be gone by now. */
	for (int i = 0; i < OPENS_MAX; i++) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/mem", ckpt_target_acts(pid));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 || (errno != ESRCH && errno != ENOENT))
			return fd < 0 ? -errno : fd;
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
	}
	return -ESRCH;
}

static bool is_ours(const char *status)
{
	const char *s = ckpt_line_after(status, "Uid");
	uint64_t uid;
	int n = 0;

	while (s && n < 3 && ckpt_parse_u64(&s, 10, &uid) && uid == geteuid())
		n++;
	return n == 3;
}

/* What stands against tracing one of our own user's; NULL: nobody knows. */
static const char *obstacle(pid_t tid, const char *status)
{
	char path[32], own[STATUS], yama[8] = "";
	struct stat st;

	/* The folder itself is its owner's in any case. */
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (stat(path, &st) == 0 && st.st_uid != geteuid())
		return "it has forbidden that (PR_SET_DUMPABLE), or its program may not be read";
	if (ckpt_proc_read(getpid(), "status", own, sizeof(own)) > 0 &&
	    ckpt_status_number(status, "CapPrm", 16) & ~ckpt_status_number(own, "CapPrm", 16))
		return "it has capabilities that ckpt has not";
	CKPT_FD fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, yama, sizeof(yama) - 1) > 0 && atoi(yama))
		return "this machine allows it with child processes only, or not at all "
		       "(kernel.yama.ptrace_scope)";
	return NULL;
}

int ckpt_target_forbidden(const char *who, pid_t tid, int code, struct ckpt_err *err)
{
	char status[STATUS];
	const char *why = NULL;

	if (geteuid() != 0 && ckpt_proc_read(tid, "status", status, sizeof(status)) > 0 &&
	    is_ours(status))
		why = obstacle(tid, status);
	if (why)
		return ckpt_refuse(err, CKPT_E_UNTRACEABLE, code,
				   "%s %d: not permitted to trace it: %s", who, tid, why);
	return ckpt_refuse(err, CKPT_E_NOT_PERMITTED, code, "%s %d: not permitted to trace it", who,
			   tid);
}

/* The same rules as for tracing it, asked without stopping it. */
static int check_permission(pid_t pid, struct ckpt_err *err)
{
	CKPT_FD fd = open_memory(pid);

	if (fd == -EACCES || fd == -EPERM)
		return ckpt_target_forbidden("process", pid, fd, err);
	if (fd == -ESRCH)
		return ckpt_refuse(err, CKPT_E_VANISHED, fd,
				   "process %d: its main thread has ended", pid);
	return fd < 0 ? ckpt_fail(err, fd, "process %d: cannot open its memory", pid) : 0;
}

/* A zombie: but a thread that executes a program takes its place in a moment. */
static bool has_ended(pid_t pid, const struct ckpt_proc_stat *before)
{
	struct ckpt_proc_stat st = *before;

	for (int i = 0; i < LOOKS && (st.state == 'Z' || st.state == 'X'); i++) {
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
		if (ckpt_proc_stat(pid, &st) < 0)
			return true;
	}
	return (st.state == 'Z' || st.state == 'X') && st.n_threads <= 1;
}

static int none(pid_t pid, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_NO_SUCH_PROCESS, -ESRCH,
			   "process %d: there is no such process", pid);
}

int ckpt_target_status(pid_t pid, char *status, size_t size, struct ckpt_err *err)
{
	pid_t leader;

	if (pid <= 0 || ckpt_proc_read(pid, "status", status, size) < 0)
		return none(pid, err);
	leader = ckpt_status_number(status, "Tgid", 10);
	if (leader != pid)
		return ckpt_refuse(err, CKPT_E_NO_SUCH_PROCESS, -ESRCH,
				   "process %d: it is a thread of process %d", pid, leader);
	return 0;
}

static void read_name(pid_t pid, char comm[32])
{
	if (ckpt_proc_read(pid, "comm", comm, 32) > 0)
		comm[strcspn(comm, "\n")] = '\0';
}

/* Another one of us lets go of it soon, one that was killed as soon as it has put all right. STATUS
 * has STATUS bytes. */
static int check_tracer(pid_t pid, char *status, struct ckpt_err *err)
{
	char ours[32] = "", comm[32] = "?";
	pid_t tracer;

	read_name(getpid(), ours);
	for (int i = 0; (tracer = ckpt_status_number(status, "TracerPid", 10)); i++) {
		read_name(tracer, comm);
		if (i == TRACER_MS || strcmp(comm, ours))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
		if (ckpt_proc_read(pid, "status", status, STATUS) <= 0)
			return none(pid, err);
	}
	if (!tracer)
		return 0;
	return ckpt_refuse(err, CKPT_E_TRACED, -EBUSY,
			   "process %d: process %d (%s) traces it already", pid, tracer, comm);
}

int ckpt_target_check(pid_t pid, struct ckpt_err *err)
{
	struct ckpt_proc_stat st;
	char status[STATUS];
	int r;

	r = ckpt_target_status(pid, status, sizeof(status), err);
	if (r < 0)
		return r;
	if (ckpt_proc_stat(pid, &st) < 0)
		return none(pid, err);
	if (st.flags & KERNEL_THREAD)
		return ckpt_refuse(err, CKPT_E_KERNEL_THREAD, -EINVAL,
				   "process %d: it is a thread of the kernel", pid);
	if (has_ended(pid, &st))
		return ckpt_refuse(err, CKPT_E_VANISHED, -ESRCH,
				   "process %d: it has ended, its parent has not waited for it yet",
				   pid);
	r = ckpt_target_check_self(pid, err);
	if (r >= 0)
		r = check_tracer(pid, status, err);
	return r < 0 ? r : check_permission(pid, err);
}
