/* SPDX-License-Identifier: Apache-2.0 */
/* The arena: zeroed, aligned, apart; and what ends a program that asks for too much. */
#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "tests/lib/tap.h"

static void pieces(struct ckpt_arena *arena)
{
	unsigned char *last = NULL;
	bool aligned = true, zero = true, apart = true;

	for (size_t size = 0; size < 300; size++) {
		unsigned char *p = ckpt_alloc(arena, size);

		aligned &= (uintptr_t)p % 16 == 0;
		for (size_t i = 0; i < size; i++)
			zero &= p[i] == 0;
		memset(p, 0xff, size);
		apart &= !last || p >= last;
		last = p + size;
	}
	ok(aligned, "pieces are aligned");
	ok(zero, "pieces are zeroed");
	ok(apart, "pieces are apart");
	is_text(ckpt_strdup(arena, "text"), "text", "a text is copied");
}

/* In a child: the program is ended there. */
static bool traps(struct ckpt_arena *arena, size_t size)
{
	struct rlimit none = { 0, 0 };
	pid_t pid = fork();
	int status;

	if (!pid) {
		setrlimit(RLIMIT_CORE, &none);
		close(2);
		ckpt_alloc(arena, size);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	size_t left;

	must(ckpt_arena_open(&arena, (size_t)64 << 30, &err) == 0, "much can be reserved");
	pieces(arena);
	ckpt_arena_close(arena);
	ckpt_arena_close(NULL);
	must(ckpt_arena_open(&arena, 1 << 16, &err) == 0, "a small one opens");
	left = ckpt_arena_left(arena);
	ok(left > 60000 && left < 1 << 16, "what is left is told");
	memset(ckpt_alloc(arena, left), 1, left);
	ok(ckpt_arena_left(arena) < 64, "it can be had, and then it is gone");
	ok(traps(arena, 4096), "more than there is ends the program");
	ok(traps(arena, SIZE_MAX), "sizes do not wrap");
	ckpt_arena_close(arena);
	is(ckpt_arena_open(&arena, 8, &err), -EINVAL, "too small a reserve is an error");
	ok(ckpt_arena_open(&arena, (size_t)1 << 60, &err) < 0, "too big a reserve is an error");
	return tap_end();
}
