/* SPDX-License-Identifier: Apache-2.0 */
/* What stands against a dump may pass by itself: then it is tried again, and the program goes on in
 * between. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "engine/base/clocks.h"
#include "injector/dump-once.h"
#include "injector/pre-dump.h"

#define AT_MOST_NS 5000000000ull
#define MOMENT_TRIES 3
#define LATER_TRIES 10
#define LATER_NAP_NS 1000000ull /* twice as long each time */

static bool has(const struct ckpt_problems *problems, enum ckpt_code number)
{
	size_t i = 0;

	while (i < problems->n && problems->v[i].number != number)
		i++;
	return i < problems->n;
}

/* It passes by itself: somebody is about to read it; a thread of our own library has descriptors of
 * its own for a moment; a SIGSTOP has just been sent; a ckpt that was killed still tracks memory (a
 * program that does has a descriptor for it, too, which does not pass). Of a connection that waits
 * to be accepted, or was seen or is said to (VISITED), it is likely: whoever asks, is answered, and
 * leaves. */
static bool passes(enum ckpt_code number, unsigned int tried, bool visited)
{
	switch (number) {
	case CKPT_E_TERMINAL_DATA:
		return true;
	case CKPT_E_SHARED_STATE:
	case CKPT_E_STOPPED:
		return tried < MOMENT_TRIES;
	case CKPT_E_AREA_FAULTS:
		return tried < LATER_TRIES;
	case CKPT_E_NOT_ACCEPTED:
	case CKPT_E_EXTERNAL_PEER:
	case CKPT_E_TCP_CONNECTION:
		return visited && tried < LATER_TRIES;
	default:
		return false;
	}
}

static bool all_pass(const struct ckpt_problems *problems, unsigned int tried, bool visited)
{
	for (size_t i = 0; i < problems->n; i++)
		if (!passes(problems->v[i].number, tried, visited))
			return false;
	return problems->n;
}

static void nap(unsigned int tried)
{
	uint64_t ns = LATER_NAP_NS << (tried < 6 ? tried : 6);

	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

static int dump_when_it_passed(const struct ckpt_dump_opts *opts, struct ckpt_attempt *attempt,
			       struct ckpt_arena *arena, struct ckpt_dump_stats *stats,
			       struct ckpt_problems *problems, struct ckpt_err *err)
{
	/* Tracking is handed over once, and so is a program that asks by itself. */
	bool once = opts->prev_dir || opts->track_mem || (opts->inside && opts->inside->answer);
	uint64_t until = ckpt_now_ns() + AT_MOST_NS;
	int r = ckpt_dump_once(opts, attempt, arena, stats, problems, err);
	bool visited = opts->skip_in_flight || has(problems, CKPT_E_NOT_ACCEPTED);

	for (unsigned int n = 0; r < 0 && !attempt->sent && !once &&
				 all_pass(problems, n, visited) && ckpt_now_ns() < until;
	     n++) {
		struct ckpt_drain drain;

		if (visited || has(problems, CKPT_E_AREA_FAULTS))
			nap(n);
		ckpt_logf(opts->log, 3, "%s: once more", problems->v[0].text);
		ckpt_drain_open(&drain, attempt->snap);
		attempt->drain = &drain;
		problems->n = 0;
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		r = ckpt_dump_once(opts, attempt, arena, stats, problems, err);
		attempt->drain = NULL;
		ckpt_drain_close(&drain);
		visited |= has(problems, CKPT_E_NOT_ACCEPTED);
	}
	return r;
}

int ckpt_dump(const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
	      struct ckpt_dump_stats *stats, struct ckpt_problems *problems, struct ckpt_err *err)
{
	struct ckpt_inside_opts inside = { 0 };
	struct ckpt_dump_opts still = *opts;
	struct ckpt_attempt attempt = { 0 };
	int r;

	memset(stats, 0, sizeof(*stats));
	r = ckpt_dump_in_box(opts, false, arena, stats, problems, err);
	if (r <= 0)
		return r;
	if (opts->memory_only)
		return ckpt_pre_dump(opts, arena, stats, err);
	r = dump_when_it_passed(opts, &attempt, arena, stats, problems, err);
	if (r != -ESTALE || attempt.sent ||
	    !(opts->live || opts->prev_dir || (opts->inside && opts->inside->snapshot)))
		return r;
	/* Its memory changed its nature at the wrong moment. */
	ckpt_logf(opts->log, 3, "%s: once more", err->text);
	still.areas_frozen = true;
	if (opts->inside) {
		inside = *opts->inside;
		inside.snapshot = false;
		still.inside = &inside;
	}
	*err = (struct ckpt_err)CKPT_ERR_INIT;
	r = dump_when_it_passed(&still, &attempt, arena, stats, problems, err);
	ckpt_known_close(&attempt.known);
	return r;
}
