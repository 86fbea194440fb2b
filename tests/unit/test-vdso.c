/* SPDX-License-Identifier: Apache-2.0 */
/* A vDSO of "another kernel" works as plain memory that jumps to this one; a damaged one is
 * refused, never a crash. */
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include "engine/base/arena.h"
#include "engine/memory/vdso.h"
#include "engine/plan/host.h"
#include "tests/lib/tap.h"

/* The offset of a function, found by patching for a target that is known and looking for the jump.
 */
static uint64_t jump_to(const uint8_t *bytes, size_t len, uint64_t low, uint64_t high)
{
	for (size_t i = 0; i + 12 <= len; i++) {
		uint64_t to;

		if (bytes[i] != 0x48 || bytes[i + 1] != 0xb8 || bytes[i + 10] != 0xff ||
		    bytes[i + 11] != 0xe0)
			continue;
		memcpy(&to, bytes + i + 2, 8);
		if (to >= low && to < high)
			return i;
	}
	return 0;
}

int main(void)
{
	struct ckpt_snapshot none = { .n_tasks = 0 };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	struct ckpt_host *host;
	uint8_t *copy, *bad;
	uint64_t now_at = getauxval(AT_SYSINFO_EHDR);
	int rejected = 0;

	ok(ckpt_arena_open(&arena, 64 << 20, &err) >= 0, "arena");
	ok(ckpt_host_probe(&host, arena, &none, &err) >= 0 && host->vdso_len >= 4096,
	   "this machine has a vDSO");
	copy = mmap(NULL, host->vdso_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	memcpy(copy, host->vdso, host->vdso_len);
	ok(ckpt_vdso_patch(copy, host->vdso_len, host->vdso, host->vdso_len, now_at, &err) >= 0,
	   "patched: %s", err.text);
	mprotect(copy, host->vdso_len, PROT_READ | PROT_EXEC);
	{
		uint64_t at = jump_to(copy, host->vdso_len, now_at, now_at + host->vdso_len);
		uint64_t to;

		memcpy(&to, copy + at + 2, 8);
		ok(at != 0 && to - now_at == at, "a function jumps to its namesake");
	}
	bad = malloc(host->vdso_len);
	srand(1);
	for (int i = 0; i < 3000; i++) {
		memcpy(bad, host->vdso, host->vdso_len);
		for (int k = 0; k < 4; k++)
			bad[rand() % (i % 2 ? 1024 : host->vdso_len)] = rand();
		rejected += ckpt_vdso_patch(bad, host->vdso_len, host->vdso, host->vdso_len, now_at,
					    &err) < 0;
	}
	ok(rejected > 0, "%d of 3000 damaged ones refused", rejected);
	free(bad);
	ckpt_arena_close(arena);
	return tap_end();
}
