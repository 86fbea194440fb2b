/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between the engine and the preloaded library is the same for whoever built the two.
 * That its structures have no holes that a compiler chooses is shown by this file being compiled.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>
#pragma GCC diagnostic error "-Wpadded"
#include "libinproc/wire.h"
#pragma GCC diagnostic ignored "-Wpadded"
#include "tests/lib/tap.h"

#define MOST_XSTATE 12288 /* with tiles: 11 KiB */

int main(void)
{
	struct ckpt_wire_hello hello;
	int n = snprintf(NULL, 0, CKPT_WIRE_NAME, ~0ull);

	is(n, 21, "a name has 21 characters");
	is(sizeof(struct ckpt_wire_request) % 8, 0, "numbers may follow a request");
	is(sizeof(struct ckpt_wire_reply) % 8, 0, "numbers may follow a reply");
	is(sizeof(hello) % 8, 0, "numbers may follow a hello");
	ok(sizeof(struct ckpt_wire_thread) + MOST_XSTATE <= CKPT_WIRE_DATA,
	   "there is room for the largest extended state");
	ok(CKPT_WIRE_DATA + sizeof(struct ckpt_wire_request) <= 65536,
	   "a message is not larger than sockets usually take");
	is(offsetof(struct ckpt_wire_hello, version), 0,
	   "the version comes first, whatever changes");
	is(CKPT_WIRE_LOOK, 1, "verbs begin at one: zeros are no request");
	is(CKPT_WIRE_FAILED, 0, "an outcome that was not set is a failure");
	return tap_end();
}
