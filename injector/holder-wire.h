/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of injector/holder*.c: what is sent, over sockets that keep packets. */
#pragma once
#include "injector/holder.h"

#define CKPT_HOLDER_NAME "ckpt-track"
#define CKPT_HOLDER_MAX 65536 /* processes */

enum ckpt_holder_verb { CKPT_HOLDER_TAKE = 1, CKPT_HOLDER_END, CKPT_HOLDER_DONE };

struct ckpt_holder_head {
	struct ckpt_held what;
	uint32_t n; /* packets that follow: a pid and its descriptors each */
};

/* Of the descriptors of T only those that are there. */
bool ckpt_holder_send_track(int sock, const struct ckpt_track *t);
bool ckpt_holder_receive_track(int sock, struct ckpt_track *t);
bool ckpt_holder_say(int sock, enum ckpt_holder_verb verb);
bool ckpt_holder_hears(int sock, enum ckpt_holder_verb verb);
/* The other end is of the same user; nobody waits for it for long. */
bool ckpt_holder_trusts(int sock);
/* "ckpt-track/ROOT/IMAGE", abstract. Returns the length of the address. */
struct sockaddr_un;
unsigned int ckpt_holder_address(struct sockaddr_un *a, pid_t root, uint64_t image);
/* holder-main.c: the process itself; GIVER is where everything comes from. */
void __attribute__((noreturn)) ckpt_holder_main(int giver);
