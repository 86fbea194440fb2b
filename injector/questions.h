/* SPDX-License-Identifier: Apache-2.0 */
/* What threads are asked by remote calls. */
#pragma once
#include "engine/capture/source.h"

/* What every leader is asked, for the first one, of whom nothing has been learned yet; other
 * threads are asked the first of it. */
extern const struct ckpt_call ckpt_first_questions[];
extern const size_t ckpt_n_first_questions;
#define CKPT_N_OF_THREAD_QUESTIONS 12

/* Whether what a process maps from now on is locked (engine/capture/future-locks.c): a page that it
 * maps, and that is gone after the last one. All but the first have its result as argument 0. For
 * themselves: meanwhile nobody must be looking at its areas. */
#define CKPT_N_PAGE_QUESTIONS 4
extern const struct ckpt_call ckpt_page_questions[CKPT_N_PAGE_QUESTIONS];
bool ckpt_wants_page(const struct ckpt_call *call); /* is it the first of them? */

/* A call that changes nothing, whoever makes it: some are made that nobody will want to know of
 * this thread. */
bool ckpt_only_asks(const struct ckpt_call *call);
