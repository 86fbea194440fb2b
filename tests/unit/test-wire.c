/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between the engine and the preloaded library is the same for whoever built the two:
 * no padding that a compiler chooses, numbers that stay. What is changed here needs another
 * CKPT_WIRE_VERSION.
 */
#include "libinproc/wire.h"
#include "tests/lib/tap.h"

#define END(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

/* FIRST to LAST without a hole, and nothing behind. */
#define WHOLE(type, sum, last)                                                         \
	do {                                                                           \
		is(sizeof(type), (sum), #type " has no holes");                        \
		is(END(type, last), sizeof(type), #type " ends with its last member"); \
		is(sizeof(type) % 8, 0, #type " can be followed by numbers");          \
	} while (0)

int main(void)
{
	WHOLE(struct ckpt_wire_reply, 16, pad);
	WHOLE(struct ckpt_wire_range, 16, len);
	WHOLE(struct ckpt_wire_request, 4 + 4 + 8 + 6 * 8 + 4 + 4, len);
	WHOLE(struct ckpt_wire_hello, 6 * 4, n_threads);
	is(sizeof(CKPT_WIRE_NAME) - sizeof("%016llx") + 16, 21, "a name has 21 characters");
	ok(sizeof(struct ckpt_wire_regs) + 12288 <= CKPT_WIRE_DATA,
	   "there is room for the largest extended state, with tiles");
	ok(sizeof(struct ckpt_wire_hello) + 500 * sizeof(int32_t) <= CKPT_WIRE_DATA,
	   "there is room for five hundred threads");
	ok(CKPT_WIRE_DATA + sizeof(struct ckpt_wire_request) <= 65536,
	   "a message fits into a socket with the smallest buffers that are usual");
	is(CKPT_WIRE_VERSION, 1, "the version");
	is(CKPT_WIRE_LOOK, 1, "verbs are not renumbered");
	is(CKPT_WIRE_GO, CKPT_WIRE_LOOK + 10, "verbs are not renumbered");
	is(CKPT_WIRE_FAILED, 0, "outcomes are not renumbered");
	return tap_end();
}
