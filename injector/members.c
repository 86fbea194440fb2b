/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in a process tree, and what can be learned of its members from /proc before they are
 * stopped. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/helper.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"

#define CHILDREN 1024 /* bytes of their list that are read at once */

struct ckpt_tracee *ckpt_tree_thread(const struct ckpt_tree *tree, pid_t tid)
{
	struct ckpt_tracee *t = tree->bucket[tid % CKPT_TREE_BUCKETS];

	while (t && t->tid != tid)
		t = t->bucket;
	return t;
}

struct ckpt_proc *ckpt_tree_proc(const struct ckpt_tree *tree, pid_t pid)
{
	const struct ckpt_tracee *t = ckpt_tree_thread(tree, pid);

	return t && t->proc->pid == pid ? t->proc : NULL;
}

pid_t ckpt_proc_acts(const struct ckpt_proc *proc)
{
	for (size_t i = 0; proc->ended && i < proc->n; i++)
		if (proc->threads[i]->state != CKPT_TRACEE_GONE)
			return proc->threads[i]->tid;
	return proc->pid;
}

struct ckpt_tracee *ckpt_proc_add(struct ckpt_tree *tree, struct ckpt_proc *proc, pid_t tid)
{
	struct ckpt_tracee *t = ckpt_new(tree->arena, struct ckpt_tracee),
			   **head = &tree->bucket[tid % CKPT_TREE_BUCKETS];

	if (proc->n == proc->room) {
		size_t room = proc->room ? 4 * proc->room : 4;
		struct ckpt_tracee **v = ckpt_alloc(tree->arena, room * sizeof(*v));

		if (proc->n)
			memcpy(v, proc->threads, proc->n * sizeof(*v));
		proc->threads = v;
		proc->room = room;
	}
	t->tid = tid;
	t->proc = proc;
	t->children = -1;
	t->bucket = *head;
	*head = t;
	proc->threads[proc->n++] = t;
	return t;
}

struct ckpt_proc *ckpt_tree_add(struct ckpt_tree *tree, pid_t pid, pid_t ppid)
{
	struct ckpt_proc *proc = ckpt_new(tree->arena, struct ckpt_proc);

	proc->pid = pid;
	proc->ppid = ppid;
	*tree->last = proc;
	tree->last = &proc->next;
	tree->n_procs++;
	ckpt_proc_add(tree, proc, pid)->state = CKPT_TRACEE_GONE; /* until it is seized */
	return proc;
}

size_t ckpt_count_threads(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return !stat(path, &st) && st.st_nlink > 2 ? st.st_nlink - 2 : 0;
}

int ckpt_each_thread(pid_t pid, int (*fn)(void *arg, pid_t tid, struct ckpt_err *err), void *arg,
		     struct ckpt_err *err)
{
	char path[32];
	struct dirent *d;
	DIR *dir;
	int r = 0;

	if (ckpt_count_threads(pid) == 1) { /* mostly */
		r = fn(arg, pid, err);
		return r < 0 ? r : 0;
	}
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT || errno == ESRCH ?
			       0 :
			       ckpt_fail(err, -errno, "process %d: cannot list its threads", pid);
	while (r >= 0 && (d = readdir(dir)) != NULL) {
		if (d->d_name[0] >= '1' && d->d_name[0] <= '9')
			r = fn(arg, atoi(d->d_name), err);
	}
	closedir(dir);
	return r < 0 ? r : 0;
}

int ckpt_each_in_list(int fd, int (*fn)(void *arg, pid_t child, struct ckpt_err *err), void *arg,
		      struct ckpt_err *err)
{
	char text[CHILDREN];
	size_t used = 0;
	off_t at = 0;
	ssize_t n = 0;
	int r = 0;

	/* A number ends with a blank, and may be read in two pieces. */
	while (r >= 0 && (n = pread(fd, text + used, sizeof(text) - 1 - used, at)) > 0) {
		const char *p = text, *end;
		uint64_t child;

		at += n;
		text[used + n] = '\0';
		while (r >= 0 && (end = strchr(p, ' ')) && ckpt_parse_u64(&p, 10, &child)) {
			p = end + 1;
			r = fn(arg, child, err);
		}
		used = strlen(p);
		memmove(text, p, used);
	}
	return r < 0 ? r : 0;
}

int ckpt_each_child(int task_dir, pid_t pid, pid_t tid,
		    int (*fn)(void *arg, pid_t child, struct ckpt_err *err), void *arg,
		    struct ckpt_err *err)
{
	char path[64];

	if (task_dir < 0)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tid);
	else
		snprintf(path, sizeof(path), "%d/children", tid);
	CKPT_FD fd = openat(task_dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		struct ckpt_proc_stat st;

		if (ckpt_proc_stat(tid, &st) < 0)
			return 0; /* the thread is gone, not the file */
		return ckpt_refuse(
			err, CKPT_E_KERNEL_FEATURE, -errno,
			"process %d: cannot list its children: the kernel lacks /proc/PID/task/TID/children",
			pid);
	}
	return ckpt_each_in_list(fd, fn, arg, err);
}

/* A process that will be looked at. */
struct coming {
	pid_t pid;
	struct coming *next;
};

struct walk {
	struct ckpt_arena *arena;
	const struct ckpt_each *each;
	struct coming *now, **last;
};

static int look_at_later(void *arg, pid_t pid, struct ckpt_err *err)
{
	struct walk *w = arg;
	struct coming *c = ckpt_new(w->arena, struct coming);

	(void)err;
	c->pid = pid;
	*w->last = c;
	w->last = &c->next;
	return 0;
}

static int look_at_thread(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct walk *w = arg;

	if (w->each->thread)
		w->each->thread(w->each->arg, w->now->pid, tid);
	return ckpt_each_child(-1, w->now->pid, tid, look_at_later, w, err);
}

void ckpt_each_below(struct ckpt_arena *arena, pid_t root, const struct ckpt_each *each)
{
	struct walk w = { .arena = arena, .each = each };
	struct ckpt_err ignored = CKPT_ERR_INIT;

	w.last = &w.now;
	look_at_later(&w, root, &ignored);
	/* A tree that grows all the time must not keep us here. */
	for (int i = 0; w.now && i < 65536; i++, w.now = w.now->next) {
		ckpt_each_thread(w.now->pid, look_at_thread, &w, &ignored);
		if (each->process)
			each->process(each->arg, w.now->pid);
	}
}

struct ahead {
	struct ckpt_tree *tree;
	struct ckpt_cpu_clocks clocks;
};

static void thread_ahead(void *arg, pid_t pid, pid_t tid)
{
	struct ahead *ahead = arg;
	struct ckpt_asleep *a = ckpt_asleep_read(ahead->tree->arena, &ahead->clocks, tid, false);
	struct ckpt_asleep **head = &ahead->tree->asleep[tid % CKPT_TREE_BUCKETS];

	ahead->tree->has_threads |= tid != pid;
	if (a) {
		a->next = *head;
		*head = a;
	}
}

static void find_gadgets(struct ckpt_tree *tree, struct ckpt_arena *arena, pid_t pid)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_vm_areas areas;
	struct ckpt_gadgets g;

	if (!ckpt_vm_areas_read(arena, pid, &areas, &ignored))
		ckpt_gadgets_find(tree->cache, arena, pid, &areas, &g, &ignored);
}

struct ckpt_tree_ahead {
	struct ckpt_job job;
	struct ckpt_tree *tree;
};

/* Others mostly have the same libraries. */
static void work_ahead(struct ckpt_job *job, struct ckpt_arena *arena)
{
	struct ckpt_tree *tree = ((struct ckpt_tree_ahead *)job)->tree;

	find_gadgets(tree, arena, tree->root);
}

void ckpt_tree_work_ahead(struct ckpt_tree *tree)
{
	if (!tree->opts->helper)
		return;
	tree->ahead = ckpt_new(tree->arena, struct ckpt_tree_ahead);
	tree->ahead->job.run = work_ahead;
	tree->ahead->tree = tree;
	ckpt_helper_start(tree->opts->helper, &tree->ahead->job);
}

static void process_ahead(void *arg, pid_t pid)
{
	struct ckpt_tree *tree = ((struct ahead *)arg)->tree;

	if (tree->ahead)
		ckpt_helper_wait(tree->opts->helper, &tree->ahead->job);
	if (!tree->ahead || pid != tree->root)
		find_gadgets(tree, tree->arena, pid);
}

void ckpt_tree_look_ahead(struct ckpt_tree *tree)
{
	struct ahead ahead = { .tree = tree };
	const struct ckpt_each each = { thread_ahead, process_ahead, &ahead };

	memset(&ahead.clocks, 0, sizeof(ahead.clocks));
	ckpt_each_below(tree->arena, tree->root, &each);
}

/* A parent waits in vfork(2) until its child executes a program or ends: no signal and no stop
 * wakes it. */
static bool waits_for_vfork(pid_t tid)
{
	char text[256];
	const char *p = text;
	uint64_t nr, arg;

	if (ckpt_proc_read(tid, "syscall", text, sizeof(text)) <= 0 ||
	    !ckpt_parse_u64(&p, 10, &nr) || !ckpt_parse_u64(&p, 16, &arg))
		return false;
	if (nr == SYS_clone3 && ckpt_vm_get(tid, arg, &arg, sizeof(arg)) < 0)
		return false;
	return nr == SYS_vfork || ((nr == SYS_clone || nr == SYS_clone3) && (arg & CLONE_VFORK));
}

int ckpt_tracee_stuck(const struct ckpt_tracee *t, struct ckpt_err *err)
{
	struct ckpt_proc_stat st = { .state = '?' };
	char wchan[64] = "";

	ckpt_proc_stat(t->tid, &st);
	if (st.state == 'D' && waits_for_vfork(t->tid))
		return ckpt_refuse(
			err, CKPT_E_TASK_STATE, -EBUSY,
			"thread %d: cannot stop it: it waits in vfork for its child to execute a program or to end",
			t->tid);
	if (ckpt_proc_read(t->tid, "wchan", wchan, sizeof(wchan)) <= 0 || !strcmp(wchan, "0"))
		strcpy(wchan, "user code");
	return ckpt_refuse(err, CKPT_E_TIMEOUT, -ETIMEDOUT,
			   "thread %d: cannot stop it in time: its state is %c, in %s", t->tid,
			   st.state, wchan);
}
