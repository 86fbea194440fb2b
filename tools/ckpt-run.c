/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt-run: starts a program with the library preloaded. By default it becomes the program; with
 * checkpoints to take by itself, or one to restore, it stays (run-supervise.c).
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "config.h"
#include "tools/ckpt.h"
#include "tools/run.h"

void ckpt_run_say(const char *fmt, ...)
{
	char text[1600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ckpt_print(STDERR_FILENO, "ckpt-run: %s\n", text);
}

int ckpt_run_say_err(const struct ckpt_err *err)
{
	char sentence[1400];

	ckpt_err_sentence(err, sentence, sizeof(sentence));
	ckpt_run_say("%s", sentence);
	return ckpt_err_exit_status(err);
}

static int failed(const struct ckpt_err *err, int status)
{
	int s = ckpt_run_say_err(err);

	return status ? status : s;
}

/* Ours is the process that the program will be. */
static int become(const struct ckpt_run_options *o, struct ckpt_generations *g)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char number[16];

	snprintf(number, sizeof(number), "%d", getpid());
	setenv("CKPT_ROOT", number, 1);
	if (o->dir && ckpt_run_owner(g, getpid(), &err) < 0)
		return failed(&err, 0);
	return ckpt_run_exec(o);
}

static int prepare(struct ckpt_run_options *o, struct ckpt_generations *g, struct ckpt_arena *arena,
		   int *lock, int *statusp, struct ckpt_err *err)
{
	int r = ckpt_run_find(o->argv[0], arena, &o->path, statusp, err);

	if (r < 0)
		return r;
	*statusp = 0;
	if (o->dir) {
		r = ckpt_generations_open(g, arena, o->dir, true, err);
		o->dir = g->path;
	}
	if (r >= 0 && o->dir)
		r = ckpt_run_claim(g, lock, err);
	return r < 0 ? r : ckpt_run_environment(o, arena, err);
}

int main(int argc, char **argv)
{
	struct ckpt_generations g = { .fd = -1, .lock = -1 };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_run_options o;
	struct ckpt_arena *arena;
	int lock = -1, status = 0;

	if (ckpt_run_options(&o, argc, argv, &err) < 0)
		return failed(&err, 2);
	if (o.help) {
		ckpt_run_help(STDOUT_FILENO);
		return 0;
	}
	if (o.version)
		return dprintf(STDOUT_FILENO, "ckpt-run %s\n", PACKAGE_VERSION) < 0;
	if (ckpt_arena_open(&arena, CKPT_RUN_RESERVE, &err) < 0 ||
	    prepare(&o, &g, arena, &lock, &status, &err) < 0)
		return failed(&err, status);
	return o.interval_ns || o.any_on || o.resume ? ckpt_run_supervise(&o, &g, lock, arena) :
						       become(&o, &g);
}
