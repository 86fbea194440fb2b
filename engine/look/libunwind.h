/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libunwind, opened when the first stack is asked for: there is no archive of it that fits, and
 * with the library that it needs itself it would cost every start of ckpt 0.2 ms.
 */
#pragma once
#include <libunwind-x86_64.h>

struct ckpt_libunwind {
	typeof(unw_create_addr_space) *create;
	typeof(unw_destroy_addr_space) *destroy;
	typeof(unw_set_caching_policy) *cache;
	typeof(unw_init_remote) *init;
	typeof(unw_step) *step;
	typeof(unw_get_reg) *get_reg;
	typeof(unw_is_signal_frame) *is_signal_frame;
	/* What perf(1) uses it for, too; in no header. */
	int (*search_table)(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di,
			    unw_proc_info_t *pi, int need_unwind_info, void *arg);
};

/* It stays open. False: it is not installed, or lacks something. */
bool ckpt_libunwind_open(struct ckpt_libunwind *lib);
