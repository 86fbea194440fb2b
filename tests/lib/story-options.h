/* SPDX-License-Identifier: Apache-2.0 */
/* Options of ckpt that a story, or the environment for all of them, asks for. For round.c. */
#pragma once
#include <stdlib.h>
#include <string.h>
#include "tests/lib/case.h"

static inline const char *story_lazy_option(const struct story *story, bool user)
{
	const char *all = getenv("CASE_LAZY");

	if (story->flags & CASE_MAP || (all && !strcmp(all, "map")))
		return "--lazy=map";
	if (story->flags & CASE_LAZY || all)
		return user ? "--lazy=map" : "--lazy";
	return NULL;
}

/* Of dumps after which it goes on: who is to end stands still until its image is written. */
static inline bool story_wants_copies(const struct story *story)
{
	return story->flags & CASE_COPIES || getenv("CASE_COPIES");
}

/* How many images it goes on from. */
static inline unsigned int story_chain(const struct story *story)
{
	const char *all = getenv("CASE_CHAIN");

	return story->chain || !all ? story->chain : (unsigned int)atoi(all);
}
