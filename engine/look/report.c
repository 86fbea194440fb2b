/* SPDX-License-Identifier: Apache-2.0 */
/* The page: summary, sizes, then each process, folded. No script, nothing from elsewhere; what is
 * in the image goes through ckpt_html(). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/look/output.h"
#include "engine/look/report.h"
#include "engine/look/stacks.h"
#include "engine/look/views.h"

static const char head[] =
	"<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
	"<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
	"<title>ckpt report</title>\n<style>\n"
	"body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}\n"
	"pre,table{font:13px/1.35 ui-monospace,monospace}pre{overflow-x:auto;background:#8881;padding:.7em}\n"
	"table{border-collapse:collapse;display:block;overflow-x:auto}\n"
	"td,th{padding:.1em .7em .1em 0;text-align:left;vertical-align:top;border-bottom:1px solid #8883}\n"
	"td.n{text-align:right}details{margin:.6em 0}summary{cursor:pointer;font-weight:600}\n"
	"svg.map{width:100%;height:48px;background:#8881}svg.map g:hover{opacity:.6}\n"
	".key span{padding:0 .5em;color:#fff;margin-right:.4em}\n"
	"@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}}\n"
	"</style></head><body>\n<h1>Image of a process tree</h1>\n";

static const char key[] =
	"<p class=key>Areas, as wide as the logarithm of their size, filled as far as they are stored: "
	"<span style=\"background:#c0392b\">code</span><span style=\"background:#2e86c1\">files</span>"
	"<span style=\"background:#1e8449\">heap</span><span style=\"background:#b7950b\">anonymous</span>"
	"<span style=\"background:#7d3c98\">stack</span><span style=\"background:#b5651d\">shared</span>"
	"<span style=\"background:#999\">kernel</span></p>\n";

static void put_printed(const char *text, FILE *out)
{
	fputs("<pre>", out);
	ckpt_html_printed(text, out);
	fputs("</pre>\n", out);
}

static void put_summary(struct ckpt_look *look, FILE *out)
{
	char *text = NULL;
	size_t len;
	FILE *mem = open_memstream(&text, &len);

	if (!mem)
		return;
	ckpt_view_summary(look, mem);
	fclose(mem);
	put_printed(text, out);
	free(text);
}

static void put_stacks(struct ckpt_look *look, const struct ckpt_task *task, FILE *out)
{
	struct ckpt_stacks stacks;
	char *text = NULL;
	size_t len;
	FILE *mem = open_memstream(&text, &len);

	if (!mem)
		return;
	ckpt_stacks_make(look, task, &stacks);
	ckpt_stacks_print(&stacks, mem);
	fclose(mem);
	put_printed(text, out);
	free(text);
}

static void put_view(struct ckpt_look *look, const struct ckpt_task *task, int view,
		     const char *title, FILE *out)
{
	struct ckpt_table t;

	ckpt_views[view].fill(look, task, &t);
	if (!t.n)
		return;
	fprintf(out, "<details><summary>%s (%zu)</summary>\n", title, t.n);
	ckpt_table_html(&t, out);
	fputs("</details>\n", out);
}

static void put_process(struct ckpt_look *look, const struct ckpt_task *task, bool open, FILE *out)
{
	fprintf(out, "<details class=process%s><summary>%d ", open ? " open" : "", task->pid);
	ckpt_html(ckpt_view_command(look, task), out);
	fputs("</summary>\n", out);
	if (task->mm) {
		ckpt_report_picture(look, task, out);
		fputs("<details open><summary>Stacks</summary>\n", out);
		put_stacks(look, task, out);
		fputs("</details>\n", out);
	}
	put_view(look, task, CKPT_VIEW_FILES, "Files", out);
	put_view(look, task, CKPT_VIEW_MEMORY, "Memory", out);
	put_view(look, task, CKPT_VIEW_STATS, "Numbers", out);
	fputs("</details>\n", out);
}

static void put_page(struct ckpt_look *look, FILE *out)
{
	fputs(head, out);
	put_summary(look, out);
	put_view(look, NULL, CKPT_VIEW_TREE, "Processes", out);
	put_view(look, NULL, CKPT_VIEW_STATS, "Sizes by kind", out);
	put_view(look, NULL, CKPT_VIEW_SOCKETS, "Sockets", out);
	fputs("<h2>Processes</h2>\n", out);
	fputs(key, out);
	for (size_t i = 0; i < look->snap->n_tasks; i++)
		put_process(look, look->snap->tasks[i], look->snap->n_tasks == 1, out);
	fputs("</body></html>\n", out);
}

static int cannot_write(const char *path, int code, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OUTPUT, code, "%s: cannot write: %s", path,
			   strerrordesc_np(-code));
}

int ckpt_report_write(struct ckpt_look *look, const char *path, struct ckpt_err *err)
{
	struct ckpt_output file;
	int r = ckpt_output_open(&file, path, err), fd;
	FILE *out;

	if (r < 0)
		return r;
	fd = fcntl(file.fd, F_DUPFD_CLOEXEC, 3);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out) {
		put_page(look, out);
		r = ferror(out) ? -EIO : 0;
		if (fclose(out))
			r = -errno;
	} else {
		r = -errno;
		if (fd >= 0)
			close(fd);
	}
	r = r < 0 ? cannot_write(path, r, err) : ckpt_output_commit(&file, err);
	ckpt_output_close(&file);
	return r;
}
