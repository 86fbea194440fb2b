/* SPDX-License-Identifier: Apache-2.0 */
/* The text of /proc/PID/smaps, taken apart. Only here because maps lacks the flags of an area. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

/* Flags of VmFlags: two letters each, in the order of their bits in ckpt_map.flags. */
/* clang-format off */
#define CKPT_MAP_FLAGS(X) \
	X(RD, 'r', 'd') X(WR, 'w', 'r') X(EX, 'e', 'x') X(SH, 's', 'h') X(MR, 'm', 'r') \
	X(MW, 'm', 'w') X(ME, 'm', 'e') X(MS, 'm', 's') X(GD, 'g', 'd') X(PF, 'p', 'f') \
	X(LO, 'l', 'o') X(IO, 'i', 'o') X(SR, 's', 'r') X(RR, 'r', 'r') X(DC, 'd', 'c') \
	X(DE, 'd', 'e') X(LF, 'l', 'f') X(AC, 'a', 'c') X(NR, 'n', 'r') X(HT, 'h', 't') \
	X(SF, 's', 'f') X(AR, 'a', 'r') X(WF, 'w', 'f') X(DD, 'd', 'd') X(SD, 's', 'd') \
	X(MM, 'm', 'm') X(HG, 'h', 'g') X(NH, 'n', 'h') X(MG, 'm', 'g') X(BT, 'b', 't') \
	X(MT, 'm', 't') X(UM, 'u', 'm') X(UW, 'u', 'w') X(UI, 'u', 'i') X(SS, 's', 's') \
	X(SL, 's', 'l') X(DP, 'd', 'p') X(GU, 'g', 'u') X(NL, 'n', 'l') X(DW, 'd', 'w')
/* clang-format on */

enum ckpt_map_bit {
#define X(name, first, second) CKPT_MAP_BIT_##name,
	CKPT_MAP_FLAGS(X)
#undef X
};
#define CKPT_MAP(name) (1ull << CKPT_MAP_BIT_##name)

struct ckpt_map {
	uint64_t start, end, offset;
	uint64_t ino;
	uint32_t major, minor; /* of the super block, which is not always the st_dev of the file */
	uint32_t prot;         /* PROT_* */
	bool shared;
	uint32_t page_kb;   /* size of its pages */
	uint8_t pkey;       /* protection key */
	char unknown[3];    /* a flag that is not in the list above, else "" */
	uint8_t n_flags;    /* of all that are told, with those that have no name */
	uint64_t flags;     /* CKPT_MAP(...) */
	uint64_t shared_kb; /* pages in memory that others have mapped too */
	const char *name;   /* "" if there is none; as in maps: a newline is "\012" */
};

struct ckpt_source;

/* Areas of PID that were read before it was stopped. */
struct ckpt_maps_before {
	struct ckpt_maps_before *next; /* of another process; for the helper */
	pid_t pid;
	struct ckpt_map *map;
	size_t n;
	/* Asked as soon as it stands still, with all threads that it has: are they still the same?
	 */
	bool (*still_true)(const struct ckpt_maps_before *before, const struct ckpt_source *src,
			   const pid_t *tids, size_t n);
	void (*close)(struct ckpt_maps_before *before);
};

/* Reads all of FD, a smaps. Memory of the areas only: the text is never held as a whole. */
int ckpt_maps_read(struct ckpt_arena *arena, int fd, struct ckpt_map **mapp, size_t *np,
		   struct ckpt_err *err);
