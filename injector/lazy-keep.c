/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: a process of its own session that has nothing of its caller's open. It starts the
 * server as a process that shares its memory and its descriptors with it, so that what one of them
 * has the other one has, and ends the tree where memory cannot be what it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/job.h"
#include "injector/lazy.h"
#include "injector/ptrace.h"

#define STACK (256u << 10)
#define FIRST_MS 5 /* in which nothing is filled but what the program asks for */

/* The coordinator is told that memory is served. */
static void started(struct ckpt_lazy_job *l)
{
	if (!l->decided && send(l->control, "s", 1, MSG_NOSIGNAL) < 0)
		return; /* that shows in the next wait for it */
}

bool ckpt_lazy_is_over(struct ckpt_lazy_job *l)
{
	char c;

	if (read(l->control, &c, 1) < 0)
		return false;
	l->decided = __atomic_load_n(&l->job->gates->decided, __ATOMIC_SEQ_CST);
	l->from = ckpt_now_ns() + FIRST_MS * 1000000ull;
	return true;
}

/* ---- the end of the tree ---- */

/* Those whose parent is in it already; who has lost its parent is not found. */
static size_t add_children(pid_t *v, size_t n)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	while (proc && (e = readdir(proc)) && n < CKPT_LAZY_FAMILY) {
		pid_t pid = atoi(e->d_name);
		struct ckpt_proc_stat st;
		bool known = false, child = false;

		if (pid <= 0 || ckpt_proc_stat(pid, &st) < 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			known |= v[i] == pid;
			child |= v[i] == st.ppid;
		}
		if (child && !known)
			v[n++] = pid;
	}
	if (proc)
		closedir(proc);
	return n;
}

size_t ckpt_lazy_family(const struct ckpt_lazy_job *l, pid_t *v)
{
	const struct ckpt_snapshot *snap = l->job->plan->snap;
	size_t n = 0, before;

	for (size_t i = 0; i < l->n_pidfds && n < CKPT_LAZY_FAMILY; i++)
		if (l->pidfd[i] >= 0 &&
		    syscall(SYS_pidfd_send_signal, l->pidfd[i], 0, NULL, 0) == 0)
			v[n++] = snap->tasks[i]->pid;
	do
		before = n, n = add_children(v, n);
	while (n > before && n < CKPT_LAZY_FAMILY);
	return n;
}

static void kill_tree(const struct ckpt_lazy_job *l)
{
	static pid_t v[CKPT_LAZY_FAMILY];
	size_t n = ckpt_lazy_family(l, v);

	for (size_t i = 0; i < l->n_pidfds; i++)
		if (l->pidfd[i] >= 0)
			syscall(SYS_pidfd_send_signal, l->pidfd[i], SIGKILL, NULL, 0);
	for (size_t i = 0; i < n; i++)
		if (v[i] != getpid())
			kill(v[i], SIGKILL);
}

static void tell(struct ckpt_lazy_job *l)
{
	const int how = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
	int fd = l->job->log ? l->job->log->fd : -1;
	char why[2048];

	ckpt_err_sentence(&l->err, why, sizeof(why));
	if (fd < 0)
		fd = l->detached ? openat(l->dirfd, "lazy.log", how, 0600) : STDERR_FILENO;
	if (fd >= 0)
		dprintf(fd, "ckpt-lazy: the restored tree of process %d was ended: %s\n",
			l->job->plan->snap->tasks[0]->pid, why);
}

/* The tree ends, the error is logged; who has escaped finds no memory where it was absent. The
 * coordinator, if there still is one, has the reason before it can see what comes of it. */
static void fail(struct ckpt_lazy_job *l)
{
	send(l->control, &l->err, sizeof(l->err), MSG_NOSIGNAL | MSG_DONTWAIT);
	for (size_t i = 0; i < l->n_mm; i++)
		if (l->mm[i].uffd >= 0)
			ckpt_lazy_poison(&l->mm[i]);
	kill_tree(l);
	tell(l);
	ckpt_image_give_back(l->img, &l->err);
}

/* ---- keeper and server ---- */

struct service {
	struct ckpt_lazy_job *l;
	int keeper; /* pidfd */
};

static void keep(struct ckpt_lazy_job *l) __attribute__((noreturn));

/* Its exit status says how it ended. */
static int serve(void *arg)
{
	struct service *s = arg;
	struct ckpt_lazy_job *l = s->l;
	enum ckpt_lazy_end end;

	if (!l->decided && ckpt_numbers_are_wanted(l->job->plan->snap))
		_exit(1);
	started(l);
	end = ckpt_lazy_serve(l, s->keeper);
	if (end == CKPT_LAZY_ORPHAN)
		keep(l);
	if (end == CKPT_LAZY_FAILED)
		fail(l);
	else if (l->decided)
		ckpt_image_give_back(l->img, NULL);
	_exit(0);
}

/* False: it was killed before it was done, or had a number that the tree needs. */
static bool run_server(struct ckpt_lazy_job *l)
{
	void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	struct service s = { l, syscall(SYS_pidfd_open, getpid(), 0) };
	int status = 0;
	pid_t pid = -1;

	if (stack != MAP_FAILED && s.keeper >= 0)
		pid = clone(serve, (char *)stack + STACK, CLONE_VM | CLONE_FILES | SIGCHLD, &s);
	if (pid < 0) {
		ckpt_fail(&l->err, -errno, "cannot start a process that serves its memory");
		fail(l);
		return true;
	}
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	close(s.keeper);
	munmap(stack, STACK);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void __attribute__((noreturn)) keep(struct ckpt_lazy_job *l)
{
	while (!run_server(l)) {
		if (!l->changing)
			continue;
		ckpt_refuse(
			&l->err, CKPT_E_LAZY_ENDED, -EOWNERDEAD,
			"the process that serves its memory was killed in the middle of a change");
		fail(l);
		break;
	}
	_exit(0);
}

/* Those that are to be ended if it comes to that. */
static void know_tasks(struct ckpt_lazy_job *l)
{
	const struct ckpt_snapshot *snap = l->job->plan->snap;

	for (; l->n_pidfds < snap->n_tasks; l->n_pidfds++)
		l->pidfd[l->n_pidfds] =
			snap->tasks[l->n_pidfds]->run_state == CKPT_ZOMBIE ?
				-1 :
				syscall(SYS_pidfd_open, snap->tasks[l->n_pidfds]->pid, 0);
}

/* ---- memory that is mapped ---- */

static void check_mapped(struct ckpt_lazy_job *l)
{
	size_t n = ckpt_image_n_chunks(l->img);

	started(l);
	while (!ckpt_lazy_is_over(l))
		;
	if (l->decided)
		know_tasks(l);
	for (size_t i = 0; l->decided && i < n; i++)
		if (!l->needed[i] && ckpt_image_read_chunk(l->img, i, l->slot[0], &l->err) < 0) {
			fail(l);
			break;
		}
}

/* ---- */

/* Standard streams of the caller must not be held open, but for a message where it waits itself. */
static void leave_caller(const struct ckpt_lazy_job *l)
{
	CKPT_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
	CKPT_FD oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	setsid();
	if (chdir("/") < 0)
		return;
	for (int sig = 1; sig < SIGSYS; sig++) /* who ends it ends the program */
		if (sig != SIGCHLD)
			signal(sig, SIG_IGN);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		if (fd != STDERR_FILENO || l->detached)
			dup2(null, fd);
	if (oom >= 0 && write(oom, "-1000", 5) < 0)
		return; /* as an ordinary user: as likely as others */
}

static bool is_ours(const struct ckpt_lazy_job *l, int fd)
{
	bool ours = fd < 3 || fd == l->control || fd == l->mine || fd == l->dirfd ||
		    fd == ckpt_image_lender(l->img) || (l->job->log && fd == l->job->log->fd);

	for (const struct ckpt_image *img = l->img; img; img = ckpt_image_parent(img)) {
		const struct ckpt_pages_files *files = ckpt_image_files(img);

		for (size_t i = 0; i < files->n; i++)
			ours |= fd == files->part[i].fd;
	}
	return ours;
}

/* What the caller has left open, and what was made for the tree. */
static void close_others(const struct ckpt_lazy_job *l)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (*e->d_name != '.' && atoi(e->d_name) != dirfd(dir) &&
		    !is_ours(l, atoi(e->d_name)))
			close(atoi(e->d_name));
	if (dir)
		closedir(dir);
}

void ckpt_lazy_keep(struct ckpt_lazy_job *l)
{
	prctl(PR_SET_NAME, CKPT_LAZY_NAME, 0, 0, 0);
	leave_caller(l);
	close_others(l);
	if (l->job->plan->opts->lazy != CKPT_LAZY_SERVE) {
		check_mapped(l);
		_exit(0);
	}
	if (ckpt_lazy_collect(l, &l->err) < 0) {
		if (l->err.code)
			send(l->control, &l->err, sizeof(l->err), MSG_NOSIGNAL);
		_exit(1);
	}
	know_tasks(l);
	ckpt_lazy_make_will(l);
	keep(l);
}
