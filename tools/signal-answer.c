/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as the library starts it, for a program that got the signal from anybody or called
 * ckpt_now(). It inherits from a process in a signal handler: descriptors, mask, terminal; none of
 * that is kept. The image is a new generation below $CKPT_DIR; what goes wrong is in $CKPT_LOG.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "injector/inside.h"
#include "tools/generations.h"
#include "tools/signal.h"

#define RESERVE (64ull << 30)
#define WAIT_S 10

struct answer {
	pid_t pid;
	bool stop, told; /* the program waits for an answer, and has one */
	struct ckpt_arena *arena;
	struct ckpt_log log;
	struct ckpt_problems problems;
};

static void leave_everything(void)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	close_range(3, ~0u, 0);
	setsid();
	umask(077);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int open_log(struct ckpt_log *log)
{
	const char *path = getenv("CKPT_LOG");
	int fd = path && *path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	ckpt_log_init(log, fd, 3);
	return fd;
}

/* A child must not be taken for the job: it has a folder of its own. */
static int open_folder(struct answer *a, struct ckpt_generations *g, struct ckpt_err *err)
{
	const char *dir = getenv("CKPT_DIR"), *root = getenv("CKPT_ROOT");
	struct ckpt_generations above;
	char name[16];
	int r;

	if (!dir || *dir != '/')
		return ckpt_refuse(err, CKPT_E_IMAGE_UNWRITABLE, -ENOENT,
				   "process %d: CKPT_DIR names no folder for its image", a->pid);
	r = ckpt_generations_open(g, a->arena, dir, true, err);
	if (r < 0 || !root || atoi(root) == a->pid)
		return r;
	above = *g;
	snprintf(name, sizeof(name), "%d", a->pid);
	r = ckpt_generations_below(g, &above, name, err);
	ckpt_generations_close(&above);
	return r;
}

static int dump(struct answer *a, const struct ckpt_generation *gen, struct ckpt_dump_stats *stats,
		struct ckpt_err *err)
{
	const struct ckpt_inside_opts inside = {
		.answer = true,
		.snapshot = !a->stop,
		.wait_s = WAIT_S,
		.told = &a->told,
	};
	const struct ckpt_dump_opts opts = {
		.pid = a->pid,
		.inside = &inside,
		.dirfd = gen->fd,
		.dir = gen->path,
		.leave_running = true,
		.shell_job = true,
		.timeout_s = WAIT_S,
		.log = &a->log,
	};

	return ckpt_dump(&opts, a->arena, stats, &a->problems, err);
}

static int checkpoint(struct answer *a, struct ckpt_err *err)
{
	const char *keep = getenv("CKPT_KEEP");
	struct ckpt_generations g = { .fd = -1, .lock = -1 };
	struct ckpt_dump_stats stats = { 0 };
	struct ckpt_generation gen;
	int r = open_folder(a, &g, err);

	if (r >= 0)
		r = ckpt_generation_begin(&g, WAIT_S * 1000000000ull, &gen, err);
	if (r >= 0) {
		r = dump(a, &gen, &stats, err);
		if (r < 0)
			ckpt_generation_abandon(&g, &gen);
		else
			ckpt_generation_keep(
				&g, &gen, keep && atoi(keep) > 0 ? atoi(keep) : CKPT_KEEP_DEFAULT);
	}
	ckpt_generations_close(&g);
	if (r >= 0)
		ckpt_logf(&a->log, 2, "process %d: checkpoint in %s: %u processes, %llu bytes",
			  a->pid, gen.path, stats.n_tasks, (unsigned long long)stats.bytes);
	for (size_t i = 0; r >= 0 && i < stats.n_losses; i++)
		ckpt_logf(&a->log, 2, "note: %s", stats.losses[i]);
	return r;
}

static void tell(struct answer *a, const char *why)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	if (ckpt_inside_tell(a->arena, a->pid, why, &a->log, &err) < 0)
		ckpt_logf(&a->log, 2, "process %d: cannot be told: %s", a->pid, err.text);
}

int ckpt_signal_answer(pid_t pid, bool stop)
{
	struct answer a = { .pid = pid, .stop = stop };
	struct ckpt_err err = CKPT_ERR_INIT;
	char sentence[1400];
	int r, logfd;

	leave_everything();
	logfd = open_log(&a.log);
	r = ckpt_arena_open(&a.arena, RESERVE, &err);
	a.problems.arena = a.arena;
	if (r >= 0)
		r = checkpoint(&a, &err);
	if (r < 0) {
		ckpt_err_sentence(&err, sentence, sizeof(sentence));
		ckpt_logf(&a.log, 1, "process %d: no checkpoint: %s", a.pid, sentence);
	}
	if (r < 0 && a.arena && stop && !a.told)
		tell(&a, sentence);
	for (size_t i = 1; r < 0 && i < a.problems.n; i++)
		ckpt_logf(&a.log, 1, "process %d: %s", a.pid, a.problems.v[i].text);
	if (logfd >= 0)
		close(logfd);
	return r < 0 ? ckpt_err_exit_status(&err) : 0;
}
