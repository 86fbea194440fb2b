/* SPDX-License-Identifier: Apache-2.0 */
/* A program while it is built; private to engine/plan. */
#pragma once
#include "engine/plan/planner.h"
#include "engine/plan/program.h"

struct ckpt_call_list {
	struct ckpt_sv_call *v;
	size_t n, room;
};

struct ckpt_thread_calls {
	struct ckpt_call_list phase[CKPT_PARKED];
};

struct ckpt_program_builder {
	struct ckpt_planner *p;
	const struct ckpt_task *task;
	const struct ckpt_layout *layout;
	struct ckpt_thread_calls *threads;
	struct ckpt_call_list parked;
	uint8_t *data; /* goes to layout->home */
	size_t data_len, data_room;
	uint64_t leader_word; /* 0: nobody has asked for it */
};
