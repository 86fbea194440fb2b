/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user reads at the end: one line of numbers, notes, or the failure. Names
 * in it may come from a hostile program or image: they never reach a terminal raw.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/model/escape.h"
#include "tools/ckpt.h"

static void write_all(int fd, const char *text, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t w = write(fd, text + done, n - done);

		if (w <= 0)
			return;
		done += w;
	}
}

void ckpt_print(int fd, const char *fmt, ...)
{
	char raw[2048], text[4 * sizeof(raw)];
	struct ckpt_text t;
	bool whole;
	size_t n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	n = strlen(raw);
	whole = n && raw[n - 1] == '\n';
	ckpt_text_init(&t, text, sizeof(text));
	ckpt_text_escaped(&t, raw, n - whole, 0);
	if (whole)
		ckpt_text_printf(&t, "\n");
	if (fd != STDOUT_FILENO) {
		write_all(fd, text, t.n);
		return;
	}
	/* It remembers what could not be written. */
	fwrite(text, 1, t.n, stdout);
	fflush(stdout);
}

const char *ckpt_human_time(char buf[24], uint64_t ns)
{
	if (ns < 1000000000ull)
		snprintf(buf, 24, "%.1f ms", ns / 1e6);
	else
		snprintf(buf, 24, "%.3f s", ns / 1e9);
	return buf;
}

/* "3 processes, 12 threads, 45.2 MiB in 0.031 s (1.4 GiB/s)" */
static void amount(char *buf, size_t size, uint32_t n_tasks, uint32_t n_threads, uint64_t bytes,
		   uint64_t ns)
{
	char b[24], rate[24];

	ckpt_size_text(bytes, b);
	ckpt_size_text(ns ? (uint64_t)(bytes * 1e9 / ns) : 0, rate);
	snprintf(buf, size, "%u process%s, %u thread%s, %s in %.3f s (%s/s)", n_tasks,
		 n_tasks == 1 ? "" : "es", n_threads, n_threads == 1 ? "" : "s", b, ns / 1e9, rate);
}

static void numbers(const char *what, uint32_t n_tasks, uint32_t n_threads, uint64_t bytes,
		    uint64_t total_ns)
{
	ckpt_print(STDOUT_FILENO, "%s tasks: %u\n", what, n_tasks);
	ckpt_print(STDOUT_FILENO, "%s threads: %u\n", what, n_threads);
	ckpt_print(STDOUT_FILENO, "%s bytes: %llu\n", what, (unsigned long long)bytes);
	ckpt_print(STDOUT_FILENO, "%s total time: %llu us\n", what,
		   (unsigned long long)(total_ns / 1000));
}

void ckpt_report_dump(const struct ckpt_tool *t, const struct ckpt_dump_stats *st,
		      const char *where)
{
	char text[160], frozen[24];

	if (t->opts.verbosity == 0)
		return;
	amount(text, sizeof(text), st->n_tasks, st->n_threads, st->bytes, st->total_ns);
	ckpt_human_time(frozen, st->frozen_ns);
	if (where)
		ckpt_print(STDOUT_FILENO, "migrated %s to %s, it stood still for %s\n", text, where,
			   frozen);
	else
		ckpt_print(STDOUT_FILENO, "dumped %s, frozen for %s\n", text, frozen);
	if (!t->opts.display_stats)
		return;
	numbers("dump", st->n_tasks, st->n_threads, st->bytes, st->total_ns);
	ckpt_print(STDOUT_FILENO, "dump frozen time: %llu us\n",
		   (unsigned long long)(st->frozen_ns / 1000));
}

void ckpt_report_restore(const struct ckpt_tool *t, const struct ckpt_restore_stats *st)
{
	char text[160], where[80] = "";

	if (t->opts.verbosity == 0)
		return;
	amount(text, sizeof(text), st->n_tasks, st->n_threads, st->bytes, st->total_ns);
	if (st->boxed)
		snprintf(where, sizeof(where),
			 ", in a user and pid namespace of its own; pid %d outside", st->root);
	ckpt_print(STDOUT_FILENO, "restored %s%s\n", text, where);
	if (!t->opts.display_stats)
		return;
	numbers("restore", st->n_tasks, st->n_threads, st->bytes, st->total_ns);
	ckpt_print(STDOUT_FILENO, "restore root: %d\n", st->root);
}

void ckpt_report_notes(const char *const *note, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ckpt_print(STDERR_FILENO, "note: %s\n", note[i]);
}

static int report(const struct ckpt_tool *t, const struct ckpt_err *err)
{
	char sentence[1400];

	ckpt_err_sentence(err, sentence, sizeof(sentence));
	ckpt_print(STDERR_FILENO, "%s: %s\n", t->name ? t->name : "ckpt", sentence);
	return ckpt_err_exit_status(err);
}

int ckpt_report_failure(const struct ckpt_tool *t)
{
	int status = 1;

	if (!t->problems.n)
		return report(t, &t->err);
	for (size_t i = 0; i < t->problems.n; i++) {
		struct ckpt_err err = { -EINVAL, t->problems.v[i].number, "" };
		int s;

		snprintf(err.text, sizeof(err.text), "%s", t->problems.v[i].text);
		s = report(t, &err);
		status = s > status ? s : status;
	}
	return status;
}
