/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dump side of memory: which pages there are, where in the pages file each of them goes, and
 * copying them. A page that a child shares copy-on-write with its parent is stored once.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/capture/source.h"
#include "engine/model/object.h"
#include "engine/model/snapshot.h"

struct ckpt_image;
struct ckpt_live;
struct ckpt_memory_work;
struct ckpt_pack;
struct ckpt_track;

/* Part of an object as a task has it mapped. */
struct ckpt_piece {
	pid_t pid;
	uint64_t start, end; /* addresses */
	uint64_t offset;     /* of START in the object */
	bool shared;
};

struct ckpt_memory_work *ckpt_memory_open(struct ckpt_source *src, struct ckpt_arena *arena);
/* LIVE: what has been copied already. Its pages file is gone on with; if it is GOOD, what has not
 * changed since stays where it is. Right after the opening; borrowed. */
void ckpt_memory_go_on(struct ckpt_memory_work *work, const struct ckpt_live *live, bool good);
/* The image that is gone on from, as it was loaded: what it has of the contents that are added is
 * not copied again. Before they are; borrowed. */
void ckpt_memory_know(struct ckpt_memory_work *work, const struct ckpt_image *before,
		      const struct ckpt_snapshot *snap);
/* Is it so that what has not changed stays where it is? */
bool ckpt_memory_goes_on(const struct ckpt_memory_work *work);
/* Closes the descriptors that it holds. NULL is fine. */
void ckpt_memory_close(struct ckpt_memory_work *work);

/* The pages of a whole address space, before anything is known of its areas. */
struct ckpt_scan {
	struct ckpt_pages pages;
	struct ckpt_pages guards;    /* guard regions (madvise(2), Linux 6.13) */
	struct ckpt_pages unchanged; /* of PAGES: tracked, and not written since the last look; if
				      * anybody wants to know */
	bool none;                   /* this kernel cannot scan: they are found area by area */
};
/* Fills FOUND. May run in any thread. TRACK: NULL if it is not tracked. KEEPS: there are pages that
 * need not be copied if they are unchanged. */
int ckpt_memory_scan(struct ckpt_arena *arena, int pagemap_fd, const struct ckpt_track *track,
		     bool keeps, struct ckpt_scan *found, struct ckpt_err *err);

struct ckpt_memory_task {
	struct ckpt_task *task;
	const struct ckpt_task *parent; /* NULL: none in the tree */
	int pagemap_fd;                 /* borrowed */
	struct ckpt_scan *found;        /* by ckpt_memory_scan() */
	/* Where pages may be shared copy-on-write, by address. Those are read through
	 * /proc/PID/mem: process_vm_readv(2) pins pages, for which the kernel gives the task copies
	 * of its own (Linux 5.19), and the memory is used twice. */
	const struct ckpt_span *shared;
	size_t n_shared;
	const struct ckpt_span *excluded; /* whole pages that are left out, in any order */
	size_t n_excluded;
};
/* Lists what was found of a task: fills task->pages and the guard regions of task->mm. Parents come
 * before their children. */
int ckpt_memory_add_task(struct ckpt_memory_work *work, const struct ckpt_memory_task *add,
			 struct ckpt_err *err);
/* Lists the content of OBJ, content_size bytes, as FD has it. Takes FD. SEEK: the description is
 * our own, so that its position may move to find holes; otherwise all of it is read. */
int ckpt_memory_add_file(struct ckpt_memory_work *work, struct ckpt_object *obj, int fd, bool seek,
			 struct ckpt_err *err);
/* The same as tasks have it mapped. SPARSE: memory without a file behind it, where reading a hole
 * would fill it. */
int ckpt_memory_add_mapped(struct ckpt_memory_work *work, struct ckpt_object *obj,
			   const struct ckpt_piece *piece, size_t n, bool sparse,
			   struct ckpt_err *err);

/* Those of PAGES that are in images before the one that begins at BASE. */
struct ckpt_pages ckpt_pages_below(const struct ckpt_pages *pages, struct ckpt_arena *arena,
				   uint64_t base);

/* Where the pages file ends; it begins at the base of what is gone on with. */
uint64_t ckpt_memory_size(const struct ckpt_memory_work *work);
/* Bytes of it. */
uint64_t ckpt_memory_own(const struct ckpt_memory_work *work);

/* The pages of PID are read from FD from now on: the "mem" of a copy of it. Takes FD. What a fork
 * leaves out or clears, and huge pages, which a copy may lose, are still read from PID. */
void ckpt_memory_take_copy(struct ckpt_memory_work *work, pid_t pid, int fd);
/* Bytes to be copied that a copy of PID would have; of 0: that no copy has been taken for. */
uint64_t ckpt_memory_in_copy(const struct ckpt_memory_work *work, pid_t pid);

enum ckpt_memory_which {
	CKPT_MEMORY_ALL,
	CKPT_MEMORY_STANDING, /* chunks of which no copy has all */
	CKPT_MEMORY_COPIED,   /* the others, afterwards */
};

struct ckpt_memory_copy {
	const struct ckpt_pages_files *files; /* borrowed; NULL if there is a PACK */
	struct ckpt_pack *pack;               /* chunks go there instead */
	enum ckpt_memory_which which;
	/* Where memory is short, what is written to FILES does not stay in the page cache. If the
	 * tree still stands when the copy begins, that would take too long, and is not even asked
	 * for.
	 */
	bool uncached;
	unsigned int n_threads; /* at most; 0: as many as are useful here */
	/* Between chunks, by the calling thread; a failure ends the copy; may be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
	/* Where all of it is put before any of it is written, if HOLD_LEN bytes are enough; NULL:
	 * that is not wanted. What stood still for it may go on then, of which ALL_READ is told. */
	char *hold;
	size_t hold_len;
	int (*all_read)(void *arg, struct ckpt_err *err);
	void *all_read_arg;
};

/* Copies everything that was listed, or WHICH of it. *CRCP (in the arena): CRC32C of each started
 * chunk of the pages file; NULL before the first call. */
int ckpt_memory_copy(struct ckpt_memory_work *work, const struct ckpt_memory_copy *copy,
		     uint32_t **crcp, size_t *np, struct ckpt_err *err);
