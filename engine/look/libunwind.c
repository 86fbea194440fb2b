/* SPDX-License-Identifier: Apache-2.0 */
/* The names as the library has them: its header gives them a prefix. */
#include <dlfcn.h>
#include <stdbool.h>
#include "engine/look/libunwind.h"

#define SONAME "libunwind-x86_64.so.8"
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define FIND(function, name) ((function) = dlsym(so, TEXT(name)))

bool ckpt_libunwind_open(struct ckpt_libunwind *lib)
{
	void *so = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);

	return so && FIND(lib->create, unw_create_addr_space) &&
	       FIND(lib->destroy, unw_destroy_addr_space) &&
	       FIND(lib->cache, unw_set_caching_policy) && FIND(lib->init, unw_init_remote) &&
	       FIND(lib->step, unw_step) && FIND(lib->get_reg, unw_get_reg) &&
	       FIND(lib->is_signal_frame, unw_is_signal_frame) &&
	       FIND(lib->search_table, UNW_OBJ(dwarf_search_unwind_table));
}
