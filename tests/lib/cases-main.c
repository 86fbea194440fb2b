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
	bool user;
	enum round_mode mode;
} variants[] = {
	{ "@inject-running", false, ROUND_RUNNING },
	{ "@inject", false, ROUND_RESTORED },
	{ "@inject-twice", false, ROUND_TWICE },
	{ "@inject-user-running", true, ROUND_RUNNING },
	{ "@inject-user", true, ROUND_RESTORED },
	{ "@inject-user-twice", true, ROUND_TWICE },
}, dry_variants[] = {
	{ "@dry", false, ROUND_DRY },
	{ "@dry-user", true, ROUND_DRY },
};

static bool fits(const struct variant *v, const struct story *s)
{
	bool as_root = getuid() == 0;

	if (!v->user && !as_root)
		return false;
	if (v->user ? s->flags & CASE_ROOT : s->flags & CASE_USER)
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

static void tell(struct totals *t, const struct variant *v, const struct story *s, int index,
		 const char *exe, const char *ckpt)
{
	struct round r = {
		.story = s,
		.index = index,
		.variant = v->name,
		.user = v->user,
		.mode = v->mode,
		.exe = exe,
		.ckpt = ckpt,
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
	char *exe;
	const char *ckpt;
	struct totals t = { 0 };

	if (argc == 4 && !strcmp(argv[1], "@target"))
		return case_target(argv[2], &stories[atoi(argv[3])]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	exe = realpath("/proc/self/exe", NULL);
	ckpt = dry ? NULL : test_find_ckpt(argv[0]);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n_variants; j++)
			if (fits(&v[j], &stories[i]) && chosen(argc, argv, v[j].name, i + 1))
				tell(&t, &v[j], &stories[i], i, exe, ckpt);
	printf("# %u ok, %u failed, %u skipped\n", t.ok, t.failed, t.skipped);
	return t.failed ? 1 : t.ok ? 0 : 77;
}
