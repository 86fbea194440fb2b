/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt x: writes out what a descriptor held: unread data of pipes and sockets, files without a
 * name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "engine/look/extract.h"
#include "engine/model/escape.h"
#include "tools/ckpt.h"

static int bad(struct ckpt_tool *t, const char *what)
{
	return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
			   "x: %s: neither fd:PID:NUMBER nor object:ID", what);
}

/* fd:PID:NUMBER */
static const struct ckpt_object *of_fd(struct ckpt_tool *t, struct ckpt_look *look, const char *s)
{
	const struct ckpt_task *task;
	uint64_t pid, number;

	if (!ckpt_parse_u64(&s, 10, &pid) || *s++ != ':' || !ckpt_parse_u64(&s, 10, &number) ||
	    *s || pid > INT_MAX) {
		bad(t, t->opts.words[1]);
		return NULL;
	}
	task = ckpt_look_process(look, pid, &t->err);
	for (size_t i = 0; task && i < task->n_fds; i++)
		if ((uint64_t)task->fds[i].number == number)
			return look->snap->objects[task->fds[i].object - 1];
	if (task)
		ckpt_refuse(&t->err, CKPT_E_NOT_IN_IMAGE, -EBADF,
			    "%s: process %d has no descriptor %llu", look->dir, task->pid,
			    (unsigned long long)number);
	return NULL;
}

static const struct ckpt_object *choose(struct ckpt_tool *t, struct ckpt_look *look)
{
	const char *s = t->opts.words[1];
	uint64_t id;

	if (!strncmp(s, "fd:", 3))
		return of_fd(t, look, s + 3);
	if (strncmp(s, "object:", 7)) {
		bad(t, s);
		return NULL;
	}
	s += 7;
	if (!ckpt_parse_u64(&s, 10, &id) || *s) {
		bad(t, t->opts.words[1]);
		return NULL;
	}
	if (id && id <= look->snap->n_objects)
		return look->snap->objects[id - 1];
	ckpt_refuse(&t->err, CKPT_E_NOT_IN_IMAGE, -ENOENT, "%s: there is no object %llu", look->dir,
		    (unsigned long long)id);
	return NULL;
}

/* What a terminal might obey is not sent there as it is. */
static ssize_t write_escaped(void *arg, const char *data, size_t len)
{
	char text[4096];
	struct ckpt_text t;

	(void)arg;
	for (size_t at = 0; at < len;) {
		size_t n = len - at < sizeof(text) / 4 - 1 ? len - at : sizeof(text) / 4 - 1;

		ckpt_text_init(&t, text, sizeof(text));
		ckpt_text_escaped(&t, data + at, n, 0);
		fputs(text, stdout);
		at += n;
	}
	return len;
}

static int to_stdout(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_object *obj)
{
	const cookie_io_functions_t escaped = { .write = write_escaped };
	bool terminal = isatty(STDOUT_FILENO);
	struct ckpt_sink sink = { .stream = terminal ? fopencookie(NULL, "w", escaped) : stdout };
	int r;

	if (!sink.stream)
		return ckpt_fail(&t->err, -ENOMEM, "standard output: cannot open");
	r = ckpt_extract_object(look, obj, &sink, &t->err);
	if (terminal)
		fclose(sink.stream);
	return r;
}

static int extract(struct ckpt_tool *t, struct ckpt_look *look)
{
	const struct ckpt_object *obj = choose(t, look);
	struct ckpt_output out;
	struct ckpt_sink sink = { .out = &out };
	int r;

	if (!obj)
		return t->err.code;
	if (!t->opts.output)
		return to_stdout(t, look, obj);
	r = ckpt_output_open(&out, t->opts.output, &t->err);
	if (r < 0)
		return r;
	r = ckpt_extract_object(look, obj, &sink, &t->err);
	if (r >= 0)
		r = ckpt_output_commit(&out, &t->err);
	ckpt_output_close(&out);
	return r;
}

int ckpt_cmd_x(struct ckpt_tool *t)
{
	int r;

	t->opts.images_dir = t->opts.words[0];
	r = ckpt_tool_images(t);
	return r < 0 ? r : ckpt_tool_look(t, extract);
}
