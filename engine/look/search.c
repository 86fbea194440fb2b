/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory is read into a window, piece behind piece as long as the addresses are; what a match may
 * need of the next window is taken over into it.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/look/search.h"

#define WINDOW (1u << 20)
#define STEPS_MAX 10000000u /* of the expression, for a place */
#define HEAP_MAX_KIB 20000u

struct ckpt_search {
	unsigned char *bytes;
	size_t len;
	pcre2_code *code; /* NULL: BYTES */
	pcre2_match_data *match;
	pcre2_match_context *context;
};

int ckpt_search_bytes(struct ckpt_search **searchp, struct ckpt_arena *arena, const void *bytes,
		      size_t len, struct ckpt_err *err)
{
	struct ckpt_search *s = ckpt_new(arena, struct ckpt_search);

	if (!len || len > CKPT_MATCH_MAX)
		return ckpt_refuse(err, CKPT_E_PATTERN, -EINVAL,
				   "search: %zu bytes cannot be looked for", len);
	s->bytes = ckpt_alloc(arena, len);
	s->len = len;
	memcpy(s->bytes, bytes, len);
	*searchp = s;
	return 0;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

int ckpt_search_hex(struct ckpt_search **searchp, struct ckpt_arena *arena, const char *digits,
		    struct ckpt_err *err)
{
	unsigned char *bytes = ckpt_alloc(arena, strlen(digits) / 2 + 1);
	size_t n = 0;

	for (const char *p = digits; *p;) {
		if (*p == ' ') {
			p++;
			continue;
		}
		if (digit(p[0]) < 0 || digit(p[1]) < 0)
			return ckpt_refuse(err, CKPT_E_PATTERN, -EINVAL,
					   "--hex: \"%s\" are no pairs of hexadecimal digits",
					   digits);
		bytes[n++] = digit(p[0]) << 4 | digit(p[1]);
		p += 2;
	}
	return ckpt_search_bytes(searchp, arena, bytes, n, err);
}

int ckpt_search_regex(struct ckpt_search **searchp, struct ckpt_arena *arena, const char *regex,
		      struct ckpt_err *err)
{
	struct ckpt_search *s = ckpt_new(arena, struct ckpt_search);
	unsigned char text[120];
	size_t at;
	int code;

	s->code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED,
				PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
	if (!s->code) {
		pcre2_get_error_message(code, text, sizeof(text));
		return ckpt_refuse(err, CKPT_E_PATTERN, -EINVAL, "--regex: %s, at character %zu",
				   (char *)text, at + 1);
	}
	pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* where there is none it is slower */
	s->match = pcre2_match_data_create_from_pattern(s->code, NULL);
	s->context = pcre2_match_context_create(NULL);
	if (!s->match || !s->context) {
		ckpt_search_close(s);
		return ckpt_fail(err, -ENOMEM, "--regex: cannot prepare");
	}
	pcre2_set_match_limit(s->context, STEPS_MAX);
	pcre2_set_heap_limit(s->context, HEAP_MAX_KIB);
	*searchp = s;
	return 0;
}

void ckpt_search_close(struct ckpt_search *s)
{
	if (!s || !s->code)
		return;
	pcre2_match_context_free(s->context);
	pcre2_match_data_free(s->match);
	pcre2_code_free(s->code);
}

struct window {
	struct ckpt_look *look;
	const struct ckpt_search *search;
	const struct ckpt_task *task;
	bool (*hit)(void *arg, const struct ckpt_hit *hit);
	void *arg;
	unsigned char *bytes; /* WINDOW + CKPT_MATCH_MAX */
	uint64_t addr;        /* of the first */
	size_t n;
	size_t done; /* matches before it have been told */
};

/* The next match at or behind FROM: 1, 0 if there is none, or an error. */
static int find(const struct window *w, size_t from, size_t *atp, size_t *lenp,
		struct ckpt_err *err)
{
	const struct ckpt_search *s = w->search;
	unsigned char text[120];
	PCRE2_SIZE *v;
	int r;

	if (!s->code) {
		const unsigned char *p = memmem(w->bytes + from, w->n - from, s->bytes, s->len);

		*atp = p ? (size_t)(p - w->bytes) : 0;
		*lenp = s->len;
		return p != NULL;
	}
	r = pcre2_match(s->code, w->bytes, w->n, from, PCRE2_NOTEMPTY, s->match, s->context);
	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r < 0) {
		pcre2_get_error_message(r, text, sizeof(text));
		return ckpt_refuse(err, CKPT_E_PATTERN, -E2BIG, "--regex: at %#llx: %s",
				   (unsigned long long)(w->addr + from), (char *)text);
	}
	v = pcre2_get_ovector_pointer(s->match);
	*atp = v[0];
	*lenp = v[1] > v[0] ? v[1] - v[0] : 0;
	/* \K and look-behind may put the end before the beginning. */
	return v[1] > v[0] && v[0] >= from;
}

/* Tells all matches that begin before LIMIT. */
static int tell(struct window *w, size_t limit, struct ckpt_err *err)
{
	size_t at = 0, len = 0;
	int r;

	while (w->done < limit) {
		r = find(w, w->done, &at, &len, err);
		if (r <= 0 || at >= limit) {
			w->done = limit;
			return r < 0 ? r : 0;
		}
		w->done = at + len;
		if (!w->hit(w->arg, &(struct ckpt_hit){ w->task, w->addr + at, len, w->bytes + at,
							w->n - at }))
			return 1;
	}
	return 0;
}

/* The end of what is connected. */
static int end(struct window *w, struct ckpt_err *err)
{
	int r = tell(w, w->n, err);

	w->n = w->done = 0;
	return r;
}

static int full(struct window *w, struct ckpt_err *err)
{
	int r = tell(w, WINDOW, err);

	if (r)
		return r;
	memmove(w->bytes, w->bytes + WINDOW, w->n - WINDOW);
	w->addr += WINDOW;
	w->n -= WINDOW;
	w->done -= WINDOW;
	return 0;
}

static int add(struct window *w, const struct ckpt_look_piece *piece, uint64_t stop,
	       struct ckpt_err *err)
{
	const size_t room = WINDOW + CKPT_MATCH_MAX;
	uint64_t at = piece->start;
	int r;

	if (w->n && w->addr + w->n != at) {
		r = end(w, err);
		if (r)
			return r;
	}
	while (at < stop) {
		size_t len = stop - at < room - w->n ? stop - at : room - w->n;
		ssize_t n;

		if (!w->n)
			w->addr = at;
		n = ckpt_look_bytes(w->look, piece, at, w->bytes + w->n, len, err);
		if (n < 0)
			return n;
		w->n += n;
		at += n;
		r = w->n == room ? full(w, err) : 0;
		if (r)
			return r;
	}
	return 0;
}

static bool is_there(const struct ckpt_look_piece *piece)
{
	switch (piece->from) {
	case CKPT_LOOK_STORED:
	case CKPT_LOOK_FILE:
	case CKPT_LOOK_BYTES:
		return true;
	case CKPT_LOOK_ZERO: /* between two that are there, it may be part of a match */
		return piece->end - piece->start <= CKPT_MATCH_MAX;
	case CKPT_LOOK_NOTHING:
	case CKPT_LOOK_MISSING:
		break;
	}
	return false;
}

static int search_area(struct window *w, const Ckpt__Area *area, struct ckpt_err *err)
{
	struct ckpt_look_piece piece = { .end = area->start };
	int r = 0;

	while (piece.end < area->end && !r) {
		ckpt_look_piece(w->look, w->task, piece.end, &piece);
		if (is_there(&piece))
			r = add(w, &piece, piece.end, err);
	}
	return r;
}

int ckpt_search_run(struct ckpt_look *look, const struct ckpt_search *search,
		    const struct ckpt_task *task, const char *area,
		    bool (*hit)(void *arg, const struct ckpt_hit *hit), void *arg,
		    struct ckpt_err *err)
{
	CKPT_FREE unsigned char *bytes = malloc(WINDOW + CKPT_MATCH_MAX);
	struct window w = { look, search, task, hit, arg, bytes, 0, 0, 0 };
	struct ckpt_look_ahead *ahead;
	int r = 0;

	if (!bytes)
		return ckpt_fail(err, -ENOMEM, "cannot search");
	ahead = area ? NULL : ckpt_look_ahead(look, task);
	for (size_t i = 0; i < task->mm->n_areas && !r; i++)
		if (!area || ckpt_look_area_is(look, task, task->mm->areas[i], area))
			r = search_area(&w, task->mm->areas[i], err);
	ckpt_look_ahead_end(ahead);
	return r ? r : end(&w, err);
}
