/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel lets a process do to itself: what a restore is made of. Where
 * a try would change us, a child does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/prctl.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/userfaultfd.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/ckpt.h"

#define TIMER_CREATE_RESTORE_IDS 77 /* PR_, Linux 6.15 */
#define FEATURE_WP_ASYNC (1 << 15)  /* UFFD_, Linux 6.7 */
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#define GET_XCOMP_SUPP 0x1021 /* ARCH_, Linux 5.16 */
#define REQ_XCOMP_PERM 0x1023
#define TILEDATA 18

static int result(long r)
{
	return r < 0 ? -errno : 0;
}

/* Runs TRY in a child; its errno comes back as the exit status. */
static int in_child(int (*try)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(-try());
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* A number that was free a moment ago. */
static pid_t free_pid(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return pid;
}

static int clone_with(pid_t wanted)
{
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uintptr_t)&wanted,
				   .set_tid_size = 1 };
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	return 0;
}

static int choose_pid_here(void)
{
	int r = -EEXIST;

	/* Someone else may have taken the number meanwhile. */
	for (int i = 0; i < 10 && r == -EEXIST; i++)
		r = clone_with(free_pid());
	return r;
}

static int choose_pid_in_box(void)
{
	pid_t init;

	if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
		return -errno;
	init = fork();
	if (!init)
		_exit(-clone_with(4711));
	int status = 0;

	if (init < 0 || waitpid(init, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int choose_pid(struct ckpt_feature_site *s)
{
	int r = in_child(choose_pid_here);

	if (!r) {
		snprintf(s->detail, sizeof(s->detail), "here");
		return 0;
	}
	r = in_child(choose_pid_in_box);
	if (!r)
		snprintf(s->detail, sizeof(s->detail),
			 "only in a user and pid namespace, which restore makes by itself");
	return r;
}

static int try_box(void)
{
	return result(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS));
}

static int box(struct ckpt_feature_site *s)
{
	(void)s;
	return in_child(try_box);
}

/* Sets what it has already: the same request with the same rights as at a restore. */
static int try_mm_map(void)
{
	struct prctl_mm_map map = { .exe_fd = -1 };
	unsigned long long *const field[] = {
		[26] = (void *)&map.start_code,  [27] = (void *)&map.end_code,
		[28] = (void *)&map.start_stack, [45] = (void *)&map.start_data,
		[46] = (void *)&map.end_data,    [47] = (void *)&map.start_brk,
		[48] = (void *)&map.arg_start,   [49] = (void *)&map.arg_end,
		[50] = (void *)&map.env_start,   [51] = (void *)&map.env_end,
	};
	char text[2048], *p;
	CKPT_FD fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return -EIO;
	text[n] = 0;
	p = strrchr(text, ')');
	for (unsigned int i = 3; p && i < sizeof(field) / sizeof(field[0]); i++) {
		p = strchr(p + 1, ' ');
		if (p && field[i])
			*field[i] = strtoull(p + 1, NULL, 10);
	}
	map.brk = (uintptr_t)sbrk(0);
	if (!p || map.brk < map.start_brk)
		return -EIO;
	return result(prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0));
}

static int mm_map(struct ckpt_feature_site *s)
{
	(void)s;
	return in_child(try_mm_map);
}

static int try_timer_ids(void)
{
	return result(prctl(TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0));
}

static int timer_ids(struct ckpt_feature_site *s)
{
	(void)s;
	return in_child(try_timer_ids);
}

static int place_mapping(struct ckpt_feature_site *s)
{
	char *a = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *b;

	(void)s;
	if (a == MAP_FAILED)
		return -errno;
	munmap(a, 4096);
	b = mmap(a, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	munmap(a, 8192);
	return b == MAP_FAILED ? -errno : b == a ? 0 : -ENOSYS;
}

static int queue_signal(void)
{
	siginfo_t info = { .si_signo = SIGUSR1, .si_code = SI_USER };
	sigset_t set;

	/* SI_USER with a pid of choice: only a process itself may pretend that. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return result(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
}

static int queue(struct ckpt_feature_site *s)
{
	(void)s;
	return in_child(queue_signal);
}

static int memfd(struct ckpt_feature_site *s)
{
	CKPT_FD fd = memfd_create("ckpt-check", MFD_CLOEXEC);

	(void)s;
	return result(fd);
}

static int timerfd_ticks(struct ckpt_feature_site *s)
{
	CKPT_FD fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	uint64_t ticks = 1;

	(void)s;
	return fd < 0 ? -errno : result(ioctl(fd, TFD_IOC_SET_TICKS, &ticks));
}

static int wp_async(struct ckpt_feature_site *s)
{
	CKPT_FD fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_WP_ASYNC };

	(void)s;
	return fd < 0 ? -errno : result(ioctl(fd, UFFDIO_API, &api));
}

static int try_amx(void)
{
	return result(syscall(SYS_arch_prctl, REQ_XCOMP_PERM, TILEDATA));
}

static int amx(struct ckpt_feature_site *s)
{
	uint64_t features = 0;

	(void)s;
	if (syscall(SYS_arch_prctl, GET_XCOMP_SUPP, &features) < 0)
		return -errno;
	return features >> TILEDATA & 1 ? in_child(try_amx) : -ENODEV;
}

/* The file capability libraries of a distribution may not know a new number: it is given as such.
 */
static int capability(int cap)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t on = CAP_CLEAR;

	if (!caps)
		return -errno;
	cap_get_flag(caps, cap, CAP_EFFECTIVE, &on);
	cap_free(caps);
	return on == CAP_SET ? 0 : -EPERM;
}

#define CAPABILITY(name, number)                     \
	static int name(struct ckpt_feature_site *s) \
	{                                            \
		(void)s;                             \
		return capability(number);           \
	}
CAPABILITY(has_sys_ptrace, CAP_SYS_PTRACE)
CAPABILITY(has_setuid, CAP_SETUID)
CAPABILITY(has_sys_resource, CAP_SYS_RESOURCE)
CAPABILITY(has_checkpoint_restore, 40) /* Linux 5.9 */

const struct ckpt_feature ckpt_features_own[] = {
	{ "clone3 set_tid", true, choose_pid,
	  "nothing can be restored: its process numbers cannot be chosen" },
	{ "user and pid namespaces", false, box, "an ordinary user cannot restore" },
	{ "PR_SET_MM_MAP", true, mm_map,
	  "nothing can be restored: the address space cannot be described" },
	{ "MAP_FIXED_NOREPLACE", true, place_mapping,
	  "nothing can be restored: memory cannot be placed safely" },
	{ "rt_sigqueueinfo", true, queue, "pending signals cannot be restored" },
	{ "memfd_create", false, memfd, "programs that have memfds cannot be restored" },
	{ "PR_TIMER_CREATE_RESTORE_IDS", false, timer_ids,
	  "programs that have POSIX timers cannot be restored" },
	{ "TFD_IOC_SET_TICKS", false, timerfd_ticks,
	  "a timerfd that has expired cannot be restored" },
	{ "UFFD_FEATURE_WP_ASYNC", false, wp_async,
	  "memory cannot be tracked: no pre-dumps, and --live copies it while the program stands still" },
	{ "AMX", false, amx, "programs that use AMX tiles cannot be restored" },
	{ "CAP_SYS_PTRACE", false, has_sys_ptrace, "only processes of your own can be dumped" },
	{ "CAP_CHECKPOINT_RESTORE", false, has_checkpoint_restore,
	  "a restore needs a namespace of its own without it or CAP_SYS_ADMIN" },
	{ "CAP_SETUID", false, has_setuid, "processes of other users cannot be restored" },
	{ "CAP_SYS_RESOURCE", false, has_sys_resource, "hard limits cannot be raised" },
	{ NULL },
};
