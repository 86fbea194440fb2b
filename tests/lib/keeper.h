/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of round.c: the keeper of one run, and how it has ckpt make images (keeper.c). */
#pragma once
#include "tests/lib/round.h"

#define CKPT_MS 60000 /* for one run of ckpt */

struct oracle;

struct keeper {
	struct round *r;
	pid_t root, inner; /* as seen from here, and as it sees itself */
	bool boxed;
	struct oracle *before, *outside; /* all, and what can be seen without stopping it */
	char *said;                      /* by ckpt, at the last call */
	char why[1200];
	int n_images;
};

/* Says why; returns ROUND_FAILED. */
int keeper_fail(struct keeper *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Runs ckpt COMMAND with MORE and the story's options. */
int keeper_ckpt(struct keeper *k, const char *command, char *const more[]);
/* A new image, and those that it goes on from; HOW: "-R", or NULL: it ends. */
int keeper_dump(struct keeper *k, char *how);
/* The folder of the last one, to be freed. */
char *keeper_image(struct keeper *k);
