/* SPDX-License-Identifier: Apache-2.0 */
/* An address space as SVG. A logarithm, since areas have from 4 KiB to TiB. */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include "engine/base/text.h"
#include "engine/look/report.h"
#include "engine/look/views.h"

#define AREAS_MAX 2000
#define WIDTH 1000.0
#define HEIGHT 48

static const char *color_of(const struct ckpt_look *look, const struct ckpt_task *task,
			    const Ckpt__Area *a)
{
	const char *name = ckpt_look_area_name(look, task, a);

	if (a->flags & CKPT__AREA__FLAG__VDSO)
		return "#999";
	if (a->shared)
		return "#b5651d";
	if (a->file)
		return a->prot & PROT_EXEC ? "#c0392b" : "#2e86c1";
	if (!strcmp(name, "[heap]"))
		return "#1e8449";
	return !strcmp(name, "[stack]") ? "#7d3c98" : "#b7950b";
}

/* 1 for a page, 2 for two, 3 for four, ... */
static unsigned int units_of(const Ckpt__Area *a)
{
	return 64 - __builtin_clzll((a->end - a->start) / CKPT_PAGE | 1);
}

static void draw(struct ckpt_look *look, const struct ckpt_task *task, const Ckpt__Area *a,
		 double x, double width, FILE *out)
{
	uint64_t size = a->end - a->start;
	uint64_t stored = ckpt_view_stored_in(&task->pages, a->start, a->end);
	const char *color = color_of(look, task, a);
	double filled = stored ? 2 + (HEIGHT - 2) * ((double)stored / size) : 0;
	char s[32], t[32];

	fprintf(out,
		"<g><rect x=%.2f y=0 width=%.2f height=%d fill=\"%s\" fill-opacity=\".25\"/>"
		"<rect x=%.2f y=%.1f width=%.2f height=%.1f fill=\"%s\"/>",
		x, width, HEIGHT, color, x, HEIGHT - filled, width, filled, color);
	fprintf(out, "<title>%" PRIx64 "-%" PRIx64 " %c%c%c%c ", a->start, a->end,
		a->prot & PROT_READ ? 'r' : '-', a->prot & PROT_WRITE ? 'w' : '-',
		a->prot & PROT_EXEC ? 'x' : '-', a->shared ? 's' : 'p');
	ckpt_html(ckpt_look_area_name(look, task, a), out);
	fprintf(out, " %s, %s stored</title></g>\n", ckpt_size_text(size, s),
		ckpt_size_text(stored, t));
}

void ckpt_report_picture(struct ckpt_look *look, const struct ckpt_task *task, FILE *out)
{
	const Ckpt__Mm *mm = task->mm;
	size_t n = mm->n_areas < AREAS_MAX ? mm->n_areas : AREAS_MAX;
	uint64_t units = 0;
	double x = 0;

	for (size_t i = 0; i < n; i++)
		units += units_of(mm->areas[i]);
	fprintf(out, "<svg class=map viewBox=\"0 0 %.0f %d\" preserveAspectRatio=none>\n", WIDTH,
		HEIGHT);
	for (size_t i = 0; i < n; i++) {
		double width = WIDTH * units_of(mm->areas[i]) / units;

		draw(look, task, mm->areas[i], x, width > 1 ? width - .4 : width, out);
		x += width;
	}
	fputs("</svg>\n", out);
	if (n < mm->n_areas)
		fprintf(out, "<p>The first %zu of %zu areas.</p>\n", n, mm->n_areas);
}
