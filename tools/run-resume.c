/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores the newest generation that is whole, in a process of its own that then stays as the
 * parent of the program. A damaged one is named, and the one before is used. One that is whole and
 * cannot be restored here ends it: going on from an older one would be a loss that nobody asked
 * for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "tools/ckpt.h"
#include "tools/run.h"

#define VERIFY_THREADS 4

struct resume {
	struct ckpt_tool t; /* for the reports */
	struct ckpt_generations *g;
	struct ckpt_generation gen;
	struct ckpt_run_files files;
	int news;
	bool runs;
	const char **notes; /* to be said when it runs */
	size_t n_notes, notes_room;
};

static void tell(const struct resume *r, int what, pid_t program, int status)
{
	const struct ckpt_run_news news = { what, program, status };

	while (write(r->news, &news, sizeof(news)) < 0 && errno == EINTR)
		;
}

/* Whole: every byte is as it was written. */
static int check(struct resume *r, struct ckpt_err *err)
{
	struct ckpt_image *img = NULL;
	struct ckpt_snapshot *snap;
	int n = ckpt_image_open(&img, r->g->arena, r->gen.fd, r->gen.path, err);

	if (n >= 0)
		n = ckpt_image_load(img, &snap, err);
	if (n >= 0)
		n = ckpt_image_verify_pages(img, VERIFY_THREADS, err);
	if (n >= 0)
		ckpt_run_grown(snap, r->g, r->gen.number, &r->files);
	ckpt_image_close(img);
	return n;
}

static bool is_damage(const struct ckpt_err *err)
{
	return err->number == CKPT_E_IMAGE_DAMAGED || err->number == CKPT_E_NO_IMAGE ||
	       err->number == CKPT_E_IMAGE_FOREIGN || err->number == CKPT_E_PARENT_MISSING ||
	       err->number == CKPT_E_PARENT_OTHER;
}

static void note_unused(struct resume *r, const struct ckpt_err *err)
{
	char sentence[1400], text[3000];

	ckpt_err_sentence(err, sentence, sizeof(sentence));
	snprintf(text, sizeof(text), "%s is not used: %s", r->gen.path, sentence);
	r->notes =
		ckpt_grow(r->g->arena, r->notes, r->n_notes, &r->notes_room, 4, sizeof(*r->notes));
	r->notes[r->n_notes++] = ckpt_strdup(r->g->arena, text);
}

/* 1: found, 0: there is none. */
static int choose(struct resume *r, struct ckpt_err *err)
{
	unsigned int *number;
	size_t n = ckpt_generations_list(r->g, &number);

	for (size_t i = 0; i < n; i++) {
		int result = ckpt_generation_open(r->g, number[i], &r->gen, err);

		if (result >= 0)
			result = check(r, err);
		if (result >= 0)
			return 1;
		if (!is_damage(err))
			return result;
		ckpt_generation_close(&r->gen);
		note_unused(r, err);
		*err = (struct ckpt_err)CKPT_ERR_INIT;
	}
	return 0;
}

/* Is this problem over when the files have been cut? */
static bool is_about_growth(const struct resume *r, const char *text)
{
	char part[4200];

	for (size_t i = 0; i < r->files.n; i++) {
		const struct ckpt_run_file *f = &r->files.v[i];

		snprintf(part, sizeof(part), "file %s: had %llu bytes, has %llu now", f->path,
			 (unsigned long long)f->size, (unsigned long long)f->now);
		if (strstr(text, part))
			return true;
	}
	return false;
}

/* All that stands against it, before anything is touched. */
static int try(struct resume *r, const struct ckpt_restore_run *run)
{
	struct ckpt_problems found = { .arena = r->g->arena };
	struct ckpt_plan *plan;
	int n = ckpt_restore_plan(run, r->g->arena, &plan, &found, &r->t.err);

	for (size_t i = 0; n >= 0 && i < found.n; i++)
		if (!is_about_growth(r, found.v[i].text))
			ckpt_problem_add(&r->t.problems, found.v[i].number, "%s", found.v[i].text);
	return n < 0 ? n : ckpt_problems_err(&r->t.problems, &r->t.err);
}

/* Not before: what is said may go into a file that has to be as it was. */
static void started(const struct ckpt_restore_stats *stats, void *arg)
{
	struct resume *r = arg;

	r->runs = true;
	tell(r, CKPT_RUN_STARTED, stats->root, 0);
	ckpt_report_notes(r->notes, r->n_notes);
	ckpt_run_say("%s restored: %u process%s, %u thread%s", r->gen.path, stats->n_tasks,
		     stats->n_tasks == 1 ? "" : "es", stats->n_threads,
		     stats->n_threads == 1 ? "" : "s");
	for (size_t i = 0; i < r->files.n; i++)
		ckpt_print(
			STDERR_FILENO,
			"note: file %s: cut back from %llu to %llu bytes, as it was; the rest is in %s\n",
			r->files.v[i].path, (unsigned long long)r->files.v[i].now,
			(unsigned long long)r->files.v[i].size, r->files.v[i].saved);
	ckpt_report_notes(stats->losses, stats->n_losses);
}

static int restore(struct resume *r, int *statusp)
{
	const struct ckpt_restore_run run = {
		.dirfd = r->gen.fd,
		.dir = r->gen.path,
		.plan = { .shell_job = true },
		.log = &r->t.log,
	};
	struct ckpt_restore_stats stats = { 0 };
	int n = try(r, &run);

	if (n < 0)
		return n;
	n = ckpt_run_cut(&r->files, &r->t.err);
	if (n >= 0)
		n = ckpt_restore(&run, r->g->arena, &stats, started, r, &r->t.problems, &r->t.err);
	if (n < 0 && !r->runs)
		ckpt_run_uncut(&r->files);
	*statusp = stats.exit_status;
	return n;
}

static void __attribute__((noreturn)) resume(struct resume *r)
{
	int status = 0, n = choose(r, &r->t.err);

	if (n == 0) {
		ckpt_report_notes(r->notes, r->n_notes);
		tell(r, CKPT_RUN_NONE, 0, 0);
		_exit(0);
	}
	if (n > 0)
		n = restore(r, &status);
	if (n < 0 && !r->runs)
		ckpt_report_notes(r->notes, r->n_notes);
	if (n < 0)
		tell(r, CKPT_RUN_FAILED, 0, ckpt_report_failure(&r->t));
	else
		tell(r, CKPT_RUN_ENDED, 0, status);
	_exit(0);
}

pid_t ckpt_run_resume(struct ckpt_generations *g, int *newsp, struct ckpt_err *err)
{
	struct resume r = { .g = g };
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "cannot make a pipe");
	pid = fork();
	if (!pid) {
		close(ends[0]);
		r.news = ends[1];
		r.t = (struct ckpt_tool){ .name = "ckpt-run",
					  .arena = g->arena,
					  .problems = { .arena = g->arena },
					  .err = CKPT_ERR_INIT };
		ckpt_log_init(&r.t.log, -1, 0);
		resume(&r);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return ckpt_fail(err, -errno, "cannot fork");
	}
	*newsp = ends[0];
	return pid;
}
