/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of checkpoints of one job: DIR/ckpt.000001, DIR/ckpt.000002, ... each an image of its
 * own. Who writes holds DIR/lock; a folder without a whole image that nobody writes goes away.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

#define CKPT_KEEP_DEFAULT 2

struct ckpt_generations {
	struct ckpt_arena *arena;
	const char *path; /* absolute */
	int fd, lock;     /* -1: none */
};

struct ckpt_generation {
	unsigned int number;
	const char *path; /* absolute */
	char name[24];
	int fd; /* of the folder, -1: closed */
};

/* Opens DIR; MAKE: makes it first, and what is above of it, for its owner only. */
int ckpt_generations_open(struct ckpt_generations *g, struct ckpt_arena *arena, const char *dir,
			  bool make, struct ckpt_err *err);
/* The same for a folder NAME in that one. */
int ckpt_generations_below(struct ckpt_generations *g, const struct ckpt_generations *above,
			   const char *name, struct ckpt_err *err);
void ckpt_generations_close(struct ckpt_generations *g);

/* Takes the lock for writing, waiting WAIT_NS at most, and makes a new folder with a number above
 * all others. What others left half-way is removed. */
int ckpt_generation_begin(struct ckpt_generations *g, uint64_t wait_ns, struct ckpt_generation *gen,
			  struct ckpt_err *err);
/* The image in it is whole: of all, the newest KEEP stay, and those that they go on from. Gives
 * back the lock. */
void ckpt_generation_keep(struct ckpt_generations *g, struct ckpt_generation *gen,
			  unsigned int keep);
/* There is none: the folder goes. Gives back the lock. */
void ckpt_generation_abandon(struct ckpt_generations *g, struct ckpt_generation *gen);

/* The numbers of those that have an image, the newest first. */
size_t ckpt_generations_list(struct ckpt_generations *g, unsigned int **numbersp);
int ckpt_generation_open(struct ckpt_generations *g, unsigned int number,
			 struct ckpt_generation *gen, struct ckpt_err *err);
void ckpt_generation_close(struct ckpt_generation *gen);
/* What its image and those that it goes on from consist of, but the pages. */
struct ckpt_image;
int ckpt_generation_image(struct ckpt_generations *g, unsigned int number, struct ckpt_image **imgp,
			  struct ckpt_err *err);
void ckpt_generations_remove_all(struct ckpt_generations *g);
