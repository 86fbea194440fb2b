/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects what the parts say of processes and threads into sorted lines and pages, and compares.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

static void add(struct oracle *o, const char *value, const char *fmt, va_list ap)
{
	if (o->n == o->room) {
		o->room = o->room ? 2 * o->room : 256;
		o->v = realloc(o->v, o->room * sizeof(*o->v));
		if (!o->v)
			abort();
	}
	if (vasprintf(&o->v[o->n].key, fmt, ap) < 0)
		abort();
	o->v[o->n++].value = strdup(value);
}

void oracle_add(struct oracle *o, const char *value, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(o, value, fmt, ap);
	va_end(ap);
}

uint64_t oracle_hash(const void *data, size_t len)
{
	const unsigned char *bytes = data;
	uint64_t h = 14695981039346656037ul;

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * 1099511628211ul;
	return h;
}

void oracle_add_bytes(struct oracle *o, const void *value, size_t len, const char *fmt, ...)
{
	char text[2 * 128 + 1] = "";
	va_list ap;

	if (len > 128)
		snprintf(text, sizeof(text), "%zu bytes, hash %016lx", len,
			 oracle_hash(value, len));
	else
		for (size_t i = 0; i < len; i++)
			sprintf(text + 2 * i, "%02x", ((const unsigned char *)value)[i]);
	va_start(ap, fmt);
	add(o, text, fmt, ap);
	va_end(ap);
}

/* A file that is deleted again gets another name in between where its own has been taken:
 * "NAME.ckpt-1-2 (deleted)". One that never had a name is shown with its inode: "#12 (deleted)". */
static void drop_spare_name(char *link)
{
	char *spare = strstr(link, ".ckpt-"), *tail = strstr(link, " (deleted)");

	if (!spare && strstr(link, "/#"))
		spare = strstr(link, "/#") + 2;
	if (spare && tail && spare < tail)
		memmove(spare, tail, strlen(tail) + 1);
}

void oracle_plain_link(struct oracle *o, char *link)
{
	char *bracket;

	drop_spare_name(link);
	bracket = strchr(link, '[');
	if (bracket && link[0] != '/' && isdigit((unsigned char)bracket[1])) {
		unsigned long ino = strtoul(bracket + 1, NULL, 10);
		size_t i;

		for (i = 0; i < o->n_inodes && o->inodes[i] != ino; i++)
			;
		if (i == o->n_inodes && i < ARRAY_SIZE(o->inodes))
			o->inodes[o->n_inodes++] = ino;
		sprintf(bracket, "[#%zu]", i);
	}
}

static int by_key(const void *a, const void *b)
{
	const struct oracle_line *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	return c ? c : strcmp(x->value, y->value);
}

static int by_place(const struct oracle_page *x, const struct oracle_page *y)
{
	if (x->name != y->name)
		return x->name < y->name ? -1 : 1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int pages_by_place(const void *a, const void *b)
{
	return by_place(a, b);
}

static int by_inner_number(const void *a, const void *b)
{
	return test_inner_pid(*(const pid_t *)a) - test_inner_pid(*(const pid_t *)b);
}

struct oracle *oracle_take(pid_t *pids, size_t n, const struct oracle_look *how)
{
	struct oracle *o = calloc(1, sizeof(*o));

	if (!o)
		abort();
	o->how = how;
	qsort(pids, n, sizeof(*pids), by_inner_number);
	for (size_t i = 0; i < n; i++)
		oracle_add_process(o, pids[i], pids, n);
	oracle_add_same(o, pids, n);
	if (how->stop)
		oracle_add_stopped(o, pids, n);
	o->how = NULL;
	qsort(o->v, o->n, sizeof(*o->v), by_key);
	if (o->n_pages)
		qsort(o->pages, o->n_pages, sizeof(*o->pages), pages_by_place);
	return o;
}

#define MOST 40 /* differences that are printed */

struct difference {
	const struct oracle *before, *after;
	bool boxed;
	const char *const *also;
	const char *prefix;
	size_t n;
};

static void differ(struct difference *d, const char *key, const char *before, const char *after)
{
	if (oracle_allowed(key, d->boxed, d->also))
		return;
	if (d->prefix && d->n < MOST)
		printf("%s%s: before: %s; after: %s\n", d->prefix, key, before, after);
	else if (d->prefix && d->n == MOST)
		printf("%sand more\n", d->prefix);
	d->n++;
}

static void compare_lines(struct difference *d)
{
	const struct oracle *before = d->before, *after = d->after;
	size_t i = 0, j = 0;

	while (i < before->n || j < after->n) {
		const struct oracle_line *b = i < before->n ? &before->v[i] : NULL;
		const struct oracle_line *a = j < after->n ? &after->v[j] : NULL;
		int c = !a ? -1 : !b ? 1 : strcmp(b->key, a->key);

		if (c == 0 && strcmp(a->value, b->value))
			differ(d, b->key, b->value, a->value);
		else if (c < 0)
			differ(d, b->key, b->value, "nothing");
		else if (c > 0)
			differ(d, a->key, "nothing", a->value);
		i += c <= 0;
		j += c >= 0;
	}
}

static void page_differs(struct difference *d, const struct oracle_page *p, const char *before,
			 const char *after)
{
	char key[96];

	snprintf(key, sizeof(key), "%d/page/%lx %s", p->name, p->addr, p->where);
	differ(d, key, before, after);
}

/* From the first byte on. NULL: zeros. What one of them leaves out is not compared. */
static void compare_page(struct difference *d, const struct oracle_page *before,
			 const struct oracle_page *after)
{
	const struct oracle_page *any = before ? before : after;
	unsigned char was[ORACLE_PAGE] = { 0 }, is[ORACLE_PAGE] = { 0 };
	char b[80] = "something", a[80] = "something else";
	size_t i = 0, n = 0;
	uint64_t w;

	if ((!before || before->bytes) && (!after || after->bytes)) {
		if (before)
			memcpy(was, before->bytes, sizeof(was));
		if (after)
			memcpy(is, after->bytes, sizeof(is));
		for (int side = 0; side < 4; side++)
			oracle_blank(side & 1 ? d->before : d->after, any->name, any->addr,
				     side & 2 ? was : is);
		while (i < sizeof(is) && was[i] == is[i])
			i++;
		if (i == sizeof(is))
			return;
		for (size_t j = i; j < sizeof(is); j++)
			n += was[j] != is[j];
		i &= ~7ul;
		memcpy(&w, was + i, sizeof(w));
		snprintf(b, sizeof(b), "%016lx at %zx", w, i);
		memcpy(&w, is + i, sizeof(w));
		snprintf(a, sizeof(a), "%016lx, %zu bytes differ", w, n);
	}
	page_differs(d, any, b, a);
}

static void compare_pages(struct difference *d)
{
	const struct oracle *before = d->before, *after = d->after;
	size_t i = 0, j = 0;

	while (i < before->n_pages || j < after->n_pages) {
		const struct oracle_page *b = i < before->n_pages ? &before->pages[i] : NULL;
		const struct oracle_page *a = j < after->n_pages ? &after->pages[j] : NULL;
		int c = !a ? -1 : !b ? 1 : by_place(b, a);

		if (c == 0 && a->hash != b->hash)
			compare_page(d, b, a);
		else if (c < 0)
			compare_page(d, b, NULL);
		else if (c > 0 && a->anonymous)
			compare_page(d, NULL, a);
		i += c <= 0;
		j += c >= 0;
	}
}

size_t oracle_compare(const struct oracle *before, const struct oracle *after, bool boxed,
		      const char *const *also, const char *prefix)
{
	struct difference d = { before, after, boxed, also, prefix, 0 };

	compare_lines(&d);
	compare_pages(&d);
	return d.n;
}

void oracle_free(struct oracle *o)
{
	for (size_t i = 0; o && i < o->n; i++) {
		free(o->v[i].key);
		free(o->v[i].value);
	}
	for (size_t i = 0; o && i < o->n_pages; i++)
		free(o->pages[i].bytes);
	if (o) {
		free(o->v);
		free(o->pages);
		free(o->gaps);
	}
	free(o);
}
