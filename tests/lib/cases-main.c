/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main() of every case: without arguments it tells all its stories in all variants that can run
 * here. Arguments choose among them: variants (@inject-user) and numbers of stories, counted
 * from 1.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "tests/lib/round.h"

static const struct variant {
	const char *name;
	bool user, inside;
	enum round_mode mode;
} variants[] = {
	{ "@inject-running", false, false, ROUND_RUNNING },
	{ "@inject", false, false, ROUND_RESTORED },
	{ "@inject-twice", false, false, ROUND_TWICE },
	{ "@inject-user-running", true, false, ROUND_RUNNING },
	{ "@inject-user", true, false, ROUND_RESTORED },
	{ "@inject-user-twice", true, false, ROUND_TWICE },
	{ "@inproc-running", false, true, ROUND_RUNNING },
	{ "@inproc", false, true, ROUND_RESTORED },
	{ "@inproc-user-running", true, true, ROUND_RUNNING },
	{ "@inproc-user", true, true, ROUND_RESTORED },
	{ "@inproc-user-twice", true, true, ROUND_TWICE },
}, dry_variants[] = {
	{ "@dry", false, false, ROUND_DRY },
	{ "@dry-user", true, false, ROUND_DRY },
};

static bool fits(const struct variant *v, const struct story *s)
{
	bool as_root = getuid() == 0;

	if (!v->user && !as_root)
		return false;
	if (v->user ? s->flags & CASE_ROOT : s->flags & CASE_USER)
		return false;
	if (v->inside ? s->not_inside != NULL || s->chain || s->flags & CASE_LIVE :
			s->flags & CASE_INSIDE && v->mode != ROUND_DRY)
		return false;
	if (s->refused[0])
		return v->mode == ROUND_DRY || v->mode == ROUND_RESTORED;
	if (v->mode == ROUND_TWICE)
		return !(s->flags & (CASE_ONCE | CASE_STAYS));
	if (v->mode == ROUND_RUNNING)
		return !(s->flags & CASE_GOES);
	return v->mode == ROUND_DRY || !(s->flags & CASE_STAYS);
}

/* Nothing of that sort in the arguments: all are chosen. */
static bool chosen(int argc, char **argv, const char *variant, int story)
{
	bool v = true, s = true, any_v = false, any_s = false;

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '@') {
			v = false;
			any_v |= !strcmp(argv[i], variant);
		} else {
			s = false;
			any_s |= atoi(argv[i]) == story;
		}
	}
	return (v || any_v) && (s || any_s);
}

struct totals {
	unsigned int ok, failed, skipped;
};

/* @inproc-user-twice begins as @inproc-user does: that one is told only if it is asked for. */
static bool repeats(const struct variant *v, const struct story *s, int argc, char **argv)
{
	if (!v->inside || !v->user || v->mode != ROUND_RESTORED || s->refused[0] ||
	    s->flags & (CASE_ONCE | CASE_STAYS))
		return false;
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '@')
			return false;
	return true;
}

struct programs {
	const char *exe, *ckpt;
	struct inside inside;
	bool can_inside;
};

static void tell(struct totals *t, const struct variant *v, const struct story *s, int index,
		 const struct programs *p)
{
	struct round r = {
		.story = s,
		.index = index,
		.variant = v->name,
		.user = v->user,
		.mode = v->mode,
		.inside = v->inside ? &p->inside : NULL,
		.exe = p->exe,
		.ckpt = p->ckpt,
		.restores = 2,
	};
	int result = round_run(&r);

	t->ok += result == ROUND_OK;
	t->skipped += result == ROUND_SKIPPED;
	t->failed += result != ROUND_OK && result != ROUND_SKIPPED;
}

int cases_main(int argc, char **argv, const struct story *stories, size_t n)
{
	bool dry = getenv("CKPT_CASE_DRY");
	const struct variant *v = dry ? dry_variants : variants;
	size_t n_variants = dry ? ARRAY_SIZE(dry_variants) : ARRAY_SIZE(variants);
	struct programs p;
	struct totals t = { 0 };

	if (argc == 4 && !strcmp(argv[1], "@target"))
		return case_target(argv[2], &stories[atoi(argv[3])]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	p.exe = realpath("/proc/self/exe", NULL);
	p.ckpt = dry ? NULL : test_find_ckpt(argv[0]);
	p.can_inside = inside_find(&p.inside, p.ckpt);
	if (!p.can_inside && !dry)
		printf("ok - @inproc # SKIP libckpt-inproc.so or ckpt-signal is not built\n");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n_variants; j++)
			if (fits(&v[j], &stories[i]) && (!v[j].inside || p.can_inside) &&
			    !repeats(&v[j], &stories[i], argc, argv) &&
			    chosen(argc, argv, v[j].name, i + 1))
				tell(&t, &v[j], &stories[i], i, &p);
	for (size_t i = 0; i < n && !dry; i++)
		if (stories[i].not_inside && chosen(argc, argv, "@inproc", i + 1))
			printf("ok - @inproc: %s # SKIP %s\n", stories[i].name,
			       stories[i].not_inside);
	printf("# %u ok, %u failed, %u skipped\n", t.ok, t.failed, t.skipped);
	return t.failed ? 1 : t.ok ? 0 : 77;
}
