/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that were looked up before the freeze, and are others by then: what is captured is
 * what is there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "engine/capture/capture.h"
#include "engine/capture/fds-ahead.h"
#include "tests/lib/frozen.h"

#define FIRST 40 /* descriptors */

static char dir[] = "/tmp/ckpt-fds-ahead.XXXXXX";
static struct ckpt_arena *arena; /* that of FROZEN goes with the freeze */

static void put(int fd, int number)
{
	if (fd < 0 || dup2(fd, number) < 0)
		_exit(1);
	close(fd);
}

static void put_file(const char *name, int number)
{
	put(open(name, O_RDWR | O_CREAT, 0600), FIRST + number);
}

/* What a name leads to changes, what a number refers to, and what is known of it. */
static void scramble(int sig)
{
	int end[2];

	(void)sig;
	if (rename("moved", "moved-away") || unlink("gone") || rename("replaced", "pushed-away"))
		_exit(1);
	put_file("other", 1);
	close(open("replaced", O_RDWR | O_CREAT, 0600));
	if (pipe(end))
		_exit(1);
	put(end[0], FIRST + 4);
	put_file("new", 6);
	close(FIRST + 7);
	lseek(FIRST + 8, 77, SEEK_SET);
	put_file("late", 5);
	frozen.page->count++;
}

static void target(void)
{
	int pair[2];

	signal(SIGUSR1, scramble);
	put_file("moved", 0);
	put_file("one", 1);
	put_file("gone", 2);
	put_file("replaced", 3);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		_exit(1);
	put(pair[0], FIRST + 4);
	put(pair[1], FIRST + 5);
	put_file("closed", 7);
	put_file("sought", 8);
	put_file("same", 9);
	idle();
	for (;;)
		pause();
}

static const struct ckpt_object *object_of(const struct ckpt_snapshot *snap, int number)
{
	const struct ckpt_task *task = snap->tasks[0];

	for (size_t i = 0; i < task->n_fds; i++)
		if (task->fds[i].number == FIRST + number)
			return snap->objects[task->fds[i].object - 1];
	return NULL;
}

static bool has_link(const struct ckpt_snapshot *snap, int number, const char *name)
{
	const struct ckpt_object *obj = object_of(snap, number);
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return obj && !strcmp(obj->file.link, path);
}

static const struct ckpt_snapshot *capture(pid_t pid, struct ckpt_fds_ahead *ahead)
{
	struct ckpt_problems problems = { .arena = arena };
	struct ckpt_helper *helper = ckpt_helper_open(arena);
	const struct ckpt_capture_opts opts = { .helper = helper };
	struct ckpt_snapshot *snap;
	struct ckpt_memory_work *work;
	int r;

	ckpt_helper_put_fds(helper, ahead);
	if (!open_source(pid, 10))
		exit(1);
	r = ckpt_capture(frozen.src, &opts, arena, &snap, &work, &problems, &frozen.err);
	report(r == 0 && problems.n == 0, "it is captured");
	ckpt_memory_close(work);
	ckpt_helper_close(helper);
	let_go();
	return r < 0 ? NULL : snap;
}

static void look(const struct ckpt_snapshot *snap)
{
	const struct ckpt_object *sought = object_of(snap, 8), *pipe = object_of(snap, 4);

	report(has_link(snap, 0, "moved-away"), "a file that was renamed");
	report(has_link(snap, 1, "other"), "another file at the same number");
	report(has_link(snap, 2, "gone (deleted)"), "a file that was deleted");
	report(has_link(snap, 3, "pushed-away"), "a file whose name another one has taken");
	report(pipe && !strncmp(pipe->file.link, "pipe:[", 6), "a pipe in place of a socket");
	report(has_link(snap, 5, "late"), "a file in place of a socket");
	report(has_link(snap, 6, "new"), "a new one");
	report(!object_of(snap, 7), "one that was closed");
	report(has_link(snap, 8, "sought") && sought->file.pos == 77, "another position");
	report(has_link(snap, 9, "same"), "one that is the same");
}

int main(void)
{
	struct ckpt_fds_ahead *ahead;
	const struct ckpt_snapshot *snap;
	char command[64];
	pid_t pid;

	if (ckpt_arena_open(&arena, 1ul << 30, &frozen.err) < 0 || !mkdtemp(dir) || chdir(dir))
		return 1;
	pid = spawn(target);
	wait_count(1);
	ahead = ckpt_fds_ahead_open(arena, pid, ckpt_fds_ahead_most());
	report(ahead && ckpt_fds_ahead_find(ahead, FIRST + 7) && !ckpt_fds_ahead_find(ahead, 9999),
	       "descriptors are looked up");
	kill(pid, SIGUSR1);
	wait_count(2);
	snap = capture(pid, ahead);
	if (snap)
		look(snap);
	end_process(pid);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) ? 1 : report_end();
}
