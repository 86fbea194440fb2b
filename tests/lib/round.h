/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of one story in one variant, by a keeper process: parent and reaper of the target and of
 * everything that a restore brings back.
 */
#pragma once
#include "tests/lib/case.h"
#include "tests/lib/inside.h"

enum round_mode { ROUND_DRY, ROUND_RUNNING, ROUND_RESTORED, ROUND_TWICE };

struct round {
	const struct story *story;
	int index;           /* of the story in its program */
	const char *variant; /* "@inject-user" */
	bool user;
	enum round_mode mode;
	const struct inside *inside; /* of a program with the preloaded library; NULL: from outside
				      */
	const char *exe, *ckpt;
	char *dir;
	int restores; /* how many of ROUND_TWICE; 2 */
};

enum { ROUND_OK, ROUND_FAILED, ROUND_SKIPPED = 77 };

/* Prints one line "ok - @variant: story" (or not ok, with what was seen after it as comments) and
 * returns how it went. */
int round_run(struct round *r);
