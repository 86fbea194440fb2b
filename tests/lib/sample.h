/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots made up for unit tests: sound in every reference, meaningless otherwise. */
#pragma once
#include <stdbool.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"

#define SAMPLE_PAGES (5 * 4096u) /* bytes of the pages file that the runs refer to */

/* One process with one thread, two areas, an eventfd. */
struct ckpt_snapshot *sample_small(struct ckpt_arena *arena);
/* A running process with two threads, a stopped child, a zombie; an object of every kind wherever
 * it can be. */
struct ckpt_snapshot *sample_full(struct ckpt_arena *arena);
/* A message with a value in every field, two in lists. */
ProtobufCMessage *sample_message(struct ckpt_arena *arena, const ProtobufCMessageDescriptor *type,
				 unsigned int seed);
struct ckpt_object *sample_object(struct ckpt_arena *arena, struct ckpt_snapshot *snap,
				  const struct ckpt_kind *kind);
/* A folder of its own, open; NAME (32 bytes) gets its path. The other takes it away with the files
 * in it. */
int sample_folder(char name[32]);
void sample_folder_remove(int dirfd, const char *name);
/* Writes the snapshot and SAMPLE_PAGES of made-up pages into DIRFD. */
int sample_write(struct ckpt_arena *arena, const struct ckpt_snapshot *snap, int dirfd,
		 struct ckpt_err *err);
