/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt mem: memory of a process in an image: printed, written to a file, searched. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "engine/look/extract.h"
#include "engine/look/search.h"
#include "engine/model/escape.h"
#include "tools/ckpt.h"

#define CONTEXT 64      /* bytes that are shown of a match */
#define HITS_MAX 100000 /* of a process */

static int bad(struct ckpt_tool *t, const char *what, const char *why)
{
	return ckpt_refuse(&t->err, CKPT_E_PATTERN, -EINVAL, "mem: %s: %s", what, why);
}

/* "0x1000", "4096", "4K" */
static bool parse(const char *text, uint64_t *valuep)
{
	static const char units[] = "KMG";
	const char *unit;

	if (!ckpt_parse_u64(&text, 0, valuep))
		return false;
	if (!*text)
		return true;
	unit = strchr(units, *text);
	if (!unit || text[1] || *valuep > UINT64_MAX >> 10 * (unit - units + 1))
		return false;
	*valuep <<= 10 * (unit - units + 1);
	return true;
}

/* Bytes as they are into -o FILE, else as hexadecimal lines. */
static int show_range(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_task *task,
		      uint64_t addr, uint64_t len)
{
	struct ckpt_output out;
	struct ckpt_sink sink = { .out = &out };
	int r;

	if (!len || addr > CKPT_TASK_SIZE || len > CKPT_TASK_SIZE - addr)
		return bad(t, "ADDR LEN", "they are outside of any address space");
	if (!t->opts.output) {
		if (len > CKPT_HEX_MAX)
			return bad(t, "LEN", "too much to print: write it to a file with -o");
		return ckpt_hex_print(look, task, addr, len, stdout, &t->err);
	}
	r = ckpt_output_open(&out, t->opts.output, &t->err);
	if (r < 0)
		return r;
	r = ckpt_extract_memory(look, task, addr, len, &sink, &t->err);
	if (r >= 0)
		r = ckpt_output_commit(&out, &t->err);
	ckpt_output_close(&out);
	return r;
}

struct showing {
	struct ckpt_look *look;
	size_t n;
};

static bool show_hit(void *arg, const struct ckpt_hit *hit)
{
	struct showing *s = arg;
	size_t i = ckpt_look_area(hit->task->mm, hit->addr),
	       n = hit->n < CONTEXT ? hit->n : CONTEXT;
	const Ckpt__Area *area = i < hit->task->mm->n_areas ? hit->task->mm->areas[i] : NULL;
	const char *name = area ? ckpt_look_area_name(s->look, hit->task, area) : "";
	char shown[4 * CONTEXT + 1], where[1024];
	struct ckpt_text t;

	ckpt_text_init(&t, where, sizeof(where));
	ckpt_text_escaped(&t, *name ? name : "anonymous", *name ? strlen(name) : 9, 0);
	ckpt_text_init(&t, shown, sizeof(shown));
	ckpt_text_escaped(&t, (const char *)hit->bytes, n, 0);
	printf("%d %#" PRIx64 " %s: %s\n", hit->task->pid, hit->addr, where, shown);
	return ++s->n < HITS_MAX;
}

static int prepare(struct ckpt_tool *t, struct ckpt_search **searchp)
{
	const struct ckpt_options *o = &t->opts;

	if (o->hex)
		return ckpt_search_hex(searchp, t->arena, o->hex, &t->err);
	if (o->regex)
		return ckpt_search_regex(searchp, t->arena, o->regex, &t->err);
	return ckpt_search_bytes(searchp, t->arena, o->search, strlen(o->search), &t->err);
}

/* Without -p all processes. */
static int search(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_task *only)
{
	struct ckpt_search *what = NULL;
	size_t found = 0;
	int r = prepare(t, &what);

	for (size_t i = 0; r >= 0 && i < look->snap->n_tasks; i++) {
		const struct ckpt_task *task = look->snap->tasks[i];
		struct showing s = { look, 0 };

		if (!task->mm || (only && only != task))
			continue;
		r = ckpt_search_run(look, what, task, t->opts.area, show_hit, &s, &t->err);
		found += s.n;
		if (r == 1)
			ckpt_print(STDERR_FILENO, "note: process %d: more than %d matches\n",
				   task->pid, HITS_MAX - 1);
	}
	ckpt_search_close(what);
	if (r < 0)
		return r;
	/* As grep(1): it may be asked for in a script. */
	return found ? 0 : 1;
}

/* NUL-terminated strings, one a line. */
static int show_strings(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_task *task,
			uint64_t start, uint64_t end)
{
	const uint64_t most = 8 << 20;
	uint64_t len = end > start ? end - start : 0;
	char *text, line[8192];

	len = len < most ? len : most;
	text = ckpt_alloc(t->arena, len + 1);
	if (ckpt_look_read(look, task, start, text, len, &t->err) < 0)
		return t->err.code;
	for (uint64_t at = 0; at < len;) {
		size_t n = strlen(text + at), cut;
		struct ckpt_text out;

		for (size_t shown = 0; shown < n; shown += cut) {
			cut = n - shown < sizeof(line) / 4 - 1 ? n - shown : sizeof(line) / 4 - 1;
			ckpt_text_init(&out, line, sizeof(line));
			ckpt_text_escaped(&out, text + at + shown, cut, 0);
			fputs(line, stdout);
		}
		putchar('\n');
		at += n + 1;
	}
	return 0;
}

static int show_area(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_task *task)
{
	size_t n = 0, found = 0;

	for (size_t i = 0; i < task->mm->n_areas; i++)
		if (ckpt_look_area_is(look, task, task->mm->areas[i], t->opts.area) && ++n == 1)
			found = i;
	if (!n)
		return ckpt_refuse(&t->err, CKPT_E_NOT_IN_IMAGE, -ENOENT,
				   "%s: process %d has no area %s", look->dir, task->pid,
				   t->opts.area);
	if (n > 1)
		ckpt_print(STDERR_FILENO, "note: %zu areas are called %s: this is the first one\n",
			   n, t->opts.area);
	return show_range(t, look, task, task->mm->areas[found]->start,
			  task->mm->areas[found]->end - task->mm->areas[found]->start);
}

/* What would be left out without a word. */
static int judge(struct ckpt_tool *t)
{
	const struct ckpt_options *o = &t->opts;
	bool searches = o->search || o->hex || o->regex;

	if (!!o->search + !!o->hex + !!o->regex + o->env + o->args + (o->n_words > 0) +
		    (o->area && !searches) >
	    1)
		return bad(t, "ADDR LEN, --search, --hex, --regex, --area, --env, --args",
			   "one of them at a time; only what is searched for may be in an --area");
	if (o->output && (searches || o->env || o->args))
		return bad(t, "-o FILE", "only for ADDR LEN and --area; what is found is printed");
	return 0;
}

static int mem(struct ckpt_tool *t, struct ckpt_look *look)
{
	const struct ckpt_options *o = &t->opts;
	const struct ckpt_task *task = NULL;
	uint64_t addr, len;

	if (o->pid) {
		task = ckpt_look_task(look, o->pid, &t->err);
		if (!task)
			return t->err.code;
	}
	if (o->search || o->hex || o->regex)
		return search(t, look, task);
	if (!task && look->snap->n_tasks == 1 && look->snap->tasks[0]->mm)
		task = look->snap->tasks[0];
	if (!task)
		return bad(t, "-p PID", "it is missing, and there is more than one process");
	if (o->env)
		return show_strings(t, look, task, task->mm->env_start, task->mm->env_end);
	if (o->args)
		return show_strings(t, look, task, task->mm->arg_start, task->mm->arg_end);
	if (o->area)
		return show_area(t, look, task);
	if (o->n_words != 2)
		return bad(t, "what?",
			   "ADDR LEN, --search, --hex, --regex, --area, --env or --args");
	if (!parse(o->words[0], &addr) || !parse(o->words[1], &len))
		return bad(t, "ADDR LEN", "they are no numbers");
	return show_range(t, look, task, addr, len);
}

int ckpt_cmd_mem(struct ckpt_tool *t)
{
	int r = judge(t);

	if (r >= 0)
		r = ckpt_tool_look(t, mem);
	fflush(stdout);
	return r;
}
