/* SPDX-License-Identifier: Apache-2.0 */
/* Targets that are checkpointed from inside: the preloaded library and who asks it. */
#pragma once
#include <stdbool.h>
#include "tests/lib/proc.h"

struct inside {
	const char *library, *requester; /* libckpt-inproc.so, ckpt-signal; NULL: not built */
};

/* Those beside CKPT. False if there are none. */
bool inside_find(struct inside *in, const char *ckpt);
/* Copies of both in DIR, for a user who cannot reach the build folder. */
bool inside_copy(struct inside *in, const char *dir);
/* What ckpt-run sets for the program; checkpoints that the program asks for itself go below DIR. */
void inside_env_set(const struct inside *in, const char *dir);
void inside_env_clear(void);
/* As test_spawn(), with that environment. */
pid_t inside_spawn(const struct inside *in, char *const argv[], const char *out, const char *cwd,
		   const char *dir);
