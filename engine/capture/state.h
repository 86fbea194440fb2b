/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture knows while it is at it. For the files of this folder only: everything else sees
 * collect.h. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/problems.h"
#include "engine/capture/capture.h"
#include "engine/capture/collect.h"
#include "engine/capture/helper.h"
#include "engine/capture/maps.h"
#include "engine/capture/threads-ahead.h"
#include "engine/model/snapshot.h"

/* Where a descriptor of our own for an open file comes from. */
enum ckpt_file_origin {
	CKPT_FROM_FD,      /* descriptor NUMBER of PID */
	CKPT_FROM_EXE,     /* /proc/PID/exe */
	CKPT_FROM_MAP,     /* /proc/PID/map_files/START-END */
	CKPT_FROM_PATH,    /* open(2) by its name: an ordinary user may not follow map_files */
	CKPT_FROM_FLIGHT,  /* a duplicate that came out of the queue of a socket: FLYING */
	CKPT_FROM_NOWHERE, /* deleted and only mapped, and we are an ordinary user */
};

/* One open file description, or one mapped file. */
struct ckpt_capture_file {
	struct ckpt_object *obj; /* NULL: no kind wants it */
	struct ckpt_probe probe;
	const struct ckpt_rule *rule; /* that keeps it out of the image; NULL: none */
	const char *was;              /* RULE: the kind that would have claimed it */
	enum ckpt_file_origin origin;
	pid_t pid;           /* the first task that has it */
	int number;          /* of PID; -1: only mapped */
	uint64_t start, end; /* an area of PID that maps it; END 0: none is known */
	const char *fdinfo;  /* its text, if it was kept */
	int flying;          /* CKPT_FROM_FLIGHT: ours; PID has the socket, NUMBER is -1 */
	const struct ckpt_unix_queue *queue; /* of a Unix socket, once it was looked into */
	int fd;                /* still open, to be used again when it is collected; else -1 */
	uint8_t *content_hash; /* SHA-256 of its content, once it was asked for; else NULL */
	struct ckpt_capture_file *next; /* of the same bucket */
};

/* Descriptions that only kcmp(2) can tell apart: all that is read of them is equal. */
struct ckpt_file_class {
	uint64_t dev, ino, pos, id;
	uint32_t flags, mode;
	struct ckpt_capture_file **v; /* in the order of kcmp(2) */
	size_t n, room;
	struct ckpt_file_class *next;
};

struct ckpt_stat {
	char comm[16];
	int64_t pgrp, session, n_threads, exit_code;
	uint64_t flags; /* PF_ of the kernel's */
	uint64_t start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
};

struct ckpt_capture_task {
	const struct ckpt_frozen *frozen;
	struct ckpt_task *task;
	const char *who; /* "process 123 (redis-server)" */
	struct ckpt_stat stat;
	const char *stat_text;
	struct ckpt_scope_jobs *scope; /* NULL: not looked at yet */
	struct ckpt_maps_job *maps;    /* being read ahead; NULL: not yet, or no longer */
	struct ckpt_numa_job *numa;    /* the same of its memory policies; NULL: nothing to read */
	struct ckpt_scan_job *scan;    /* the same of its page map */
	pid_t *apart;                  /* threads with a working directory of their own */
	size_t n_apart, apart_room;
	size_t rings;             /* contexts of io_setup(2) */
	struct ckpt_span *shared; /* private areas with pages that others have too */
	size_t n_shared, shared_room;
	struct ckpt_fd_extra *extra; /* of its descriptors, by number */
	size_t n_extra, extra_room;
};

/* Of witness.c: ckpt itself. */
struct ckpt_ourselves {
	bool asked;
	pid_t pid; /* 0: nobody may look at us */
	uid_t uid[3];
	gid_t gid[3];
	uint64_t permitted;
};

#define CKPT_FILE_BUCKETS 1024u
#define CKPT_ONCE_MAX 8 /* answers that are kept */

struct ckpt_capture {
	struct ckpt_source *src;
	struct ckpt_arena *arena;
	const struct ckpt_capture_opts *opts;
	struct ckpt_problems *problems;
	struct ckpt_snapshot *snap;
	struct ckpt_memory_work *work;
	struct ckpt_helper *helper;

	struct ckpt_capture_task *tasks;
	size_t n_tasks, n_scopes_started, n_maps_started, n_scans_started;
	char time_ns[32]; /* that of the tree, "" before its first process has been looked at */
	char our_ns[CKPT_N_NAMESPACES][32]; /* "mnt:[4026531841]", "" where this kernel has none */

	struct ckpt_capture_file **files; /* files[i] is object i + 1 */
	size_t n_files, files_room;
	size_t n_collected;                                  /* of the files, the first */
	struct ckpt_file_class *class_of[CKPT_FILE_BUCKETS]; /* of descriptors */
	struct ckpt_capture_file *mapped[CKPT_FILE_BUCKETS]; /* by what fstat(2) says of the file */
	struct ckpt_map_key {                                /* by what maps says of it */
		struct ckpt_map_key *next;
		uint64_t ino;
		uint32_t major, minor, flags;
		const char *name;
		struct ckpt_capture_file *file; /* NULL: refused */
	} * map_key[CKPT_FILE_BUCKETS];
	unsigned int n_held, max_held; /* files that are still open */
	bool no_map_files;             /* this user may not follow them */
	struct {
		pid_t pid; /* 0: of nobody */
		int fd;    /* its maps */
		bool none; /* this kernel answers no such questions */
	} query;           /* of map-query.c */
	struct {
		int64_t (*ask)(void); /* NULL: the place is free */
		int64_t answer;
	} once[CKPT_ONCE_MAX]; /* of ckpt_once() */
	const char *label;     /* of this process; NULL: no module gives any */
	bool asked_label;
	int nodes; /* of memory: 1, or 2 for more; 0: not looked at */

	struct ckpt_fs_magic {
		uint64_t dev;
		long magic;
	} magics[16]; /* of file systems seen */
	unsigned int n_magics;

	struct ckpt_object *object; /* being collected */
	bool of_ended;              /* of a main thread that has ended */
	struct ckpt_status {
		struct ckpt_status *next;
		pid_t tid;
		char *text;
		struct ckpt_creds *creds; /* out of TEXT; NULL: not looked for */
		bool silent;              /* it must not be made to run system calls */
	} * status[CKPT_FILE_BUCKETS];    /* of all threads asked for */
	struct {
		pid_t pid;
		int number;
		char *text;
	} fdinfo; /* of the last descriptor asked for */

	struct ckpt_ourselves ourselves;
	struct ckpt_witness *witnesses;      /* of witness.c */
	struct ckpt_watched_search *watched; /* of watched.c: one for each file system */

	struct ckpt_object **state; /* objects that are not files; they get their ids at the end */
	size_t n_state, state_room;
	size_t lost_room;
};

/* ---- tasks.c ---- */
/* Reads who and what every task is, and has the helper begin to look at the first ones. */
int ckpt_capture_tasks(struct ckpt_capture *c, const struct ckpt_frozen *frozen, size_t n,
		       struct ckpt_err *err);
/* Takes the text of /proc/PID/stat apart. */
int ckpt_stat_parse(const char *text, struct ckpt_stat *st, struct ckpt_err *err);
/* The first line of a status that starts with KEY as a number; 0 if there is none. */
uint64_t ckpt_status_u64(const char *text, const char *key);

/* ---- scope.c ---- */
/* Our own namespaces, to compare with; before the freeze. */
void ckpt_capture_scope_ours(struct ckpt_capture *c);
/* Has the helper look at the threads of task I and of some more. */
void ckpt_capture_scope_start(struct ckpt_capture *c, size_t i);
/* Namespaces, seccomp, what a thread has for itself: of the threads of T up to the Ith, and maybe
 * of more. To be done before a thread is made to run a system call. */
int ckpt_capture_scope_thread(struct ckpt_capture *c, struct ckpt_capture_task *t, size_t i,
			      struct ckpt_err *err);
/* The same without waiting for the helper: 1, or 0 where it has not got there yet. */
int ckpt_capture_scope_by_now(struct ckpt_capture *c, struct ckpt_capture_task *t, size_t i,
			      struct ckpt_err *err);
/* The text of /proc/PID/NAME, if it was read with PID or its first thread; else NULL. */
const char *ckpt_capture_read_ahead(const struct ckpt_capture *c, pid_t pid, const char *name,
				    size_t *lenp);
void ckpt_capture_scope_end(struct ckpt_capture *c);
/* What processes share that they must not. */
int ckpt_capture_shared(struct ckpt_capture *c, struct ckpt_err *err);

/* ---- collect.c ---- */
/* What kinds are given to ask thread TID of PID with. */
struct ckpt_collect ckpt_collect_of(struct ckpt_capture *c, pid_t pid, pid_t tid);
/* Remembers what /proc/TID/status says. */
void ckpt_status_keep(struct ckpt_capture *c, pid_t tid, char *text);
/* May the thread be made to run system calls? A filter of seccomp might kill it for one. */
bool ckpt_may_call(struct ckpt_capture *c, pid_t tid);
void ckpt_must_not_call(struct ckpt_capture *c, pid_t tid);

/* ---- files.c ---- */
/* All descriptors of all tasks: task->fds, and c->files. */
int ckpt_capture_files(struct ckpt_capture *c, struct ckpt_err *err);
/* A new file object; KIND says of what kind. */
struct ckpt_capture_file *ckpt_capture_file_add(struct ckpt_capture *c,
						const struct ckpt_kind *kind,
						const struct ckpt_probe *probe);
/* An open file that is in the queue of a socket of T, by a descriptor of ours, which it may take.
 * *IDP is 0 if no kind wants it, which is a problem and has been added. */
int ckpt_capture_flying(struct ckpt_capture *c, struct ckpt_capture_task *t, int *fdp,
			uint32_t *idp, struct ckpt_err *err);
/* Keeps *FDP open until F is collected, if there are not too many: opening again costs up to 6 us.
 */
void ckpt_capture_file_hold(struct ckpt_capture *c, struct ckpt_capture_file *f, int *fdp);
/* Closes those that are still open. */
void ckpt_capture_files_end(struct ckpt_capture *c);
/* Closes what ckpt_mapped_build_id() has open. */
void ckpt_capture_query_end(struct ckpt_capture *c);
uint32_t ckpt_file_hash(uint64_t a, uint64_t b);

/* ---- flight.c ---- */
/* Looks into the queues of all Unix sockets, and adds the files in them. */
int ckpt_capture_in_flight(struct ckpt_capture *c, struct ckpt_err *err);

/* ---- fdinfo.c ---- */
struct ckpt_fdinfo {
	uint32_t flags; /* as open(2) takes them, O_CLOEXEC among them */
	uint64_t pos;
	char lock[16];  /* "POSIX", "FLOCK", "LEASE", ... of a lock that is held through it, else ""
			 */
	uint64_t id;    /* of an eventfd: no two have the same; else 0 */
	uint32_t mount; /* mnt_id */
};
int ckpt_fdinfo_parse(const char *text, struct ckpt_fdinfo *info, struct ckpt_err *err);

/* ---- fds.c ---- */
/* What /proc shows of a descriptor. */
struct ckpt_look {
	int number;
	int code; /* negative errno: it could not be read, WHAT failed */
	const char *what;
	struct ckpt_fdinfo info;
	const char *link;
	bool link_ahead; /* LINK was read before the freeze */
	bool leads;      /* LINK is a path, and leads to THERE */
	struct stat there;
	const char *text; /* fdinfo whole, where a kind is going to ask for it; else NULL */
};
/* The descriptors of one task, a batch at a time, by number; the helper works ahead. */
struct ckpt_fd_batch {
	struct ckpt_capture *c;
	const struct ckpt_frozen *task;
	int fd_dir;
	struct ckpt_look *look;
	size_t n;
	struct ckpt_look_job *job;
	size_t n_jobs, next;
};
/* All descriptors of the task but the source's own. */
int ckpt_fd_batch_open(struct ckpt_fd_batch *b, struct ckpt_capture *c,
		       const struct ckpt_frozen *task, struct ckpt_err *err);
/* ST is what fstat(2) says of the file: is the link that of this file? Else it has to be read. */
bool ckpt_look_holds(const struct ckpt_look *look, const struct stat *st);
/* Returns how many, 0 at the end. *LOOKP is valid until the capture ends. */
size_t ckpt_fd_batch_next(struct ckpt_fd_batch *b, const struct ckpt_look **lookp);
void ckpt_fd_batch_close(struct ckpt_fd_batch *b);

/* ---- probe.c ---- */
/* Fills PROBE from FD, but for the link. */
int ckpt_probe_fill(struct ckpt_capture *c, int fd, struct ckpt_probe *probe, struct ckpt_err *err);
/* The kind that claims it; NULL: none does. Two of them: an error. */
int ckpt_probe_kind(const struct ckpt_probe *probe, const struct ckpt_kind **kindp,
		    struct ckpt_err *err);
/* "socket:[12] (IPv4 stream socket)": for messages. */
void ckpt_probe_describe(const struct ckpt_probe *probe, char *buf, size_t size);

/* ---- clocks.c ---- */
/* Which clocks the tree has, when every process has been looked at. */
int ckpt_capture_clocks(struct ckpt_capture *c, struct ckpt_err *err);

/* ---- future-locks.c ---- */
/* Fills task->mm->lock_future. The address space has a page more for a moment: nobody may be
 * looking at it. */
int ckpt_capture_future_locks(struct ckpt_capture *c, struct ckpt_capture_task *t,
			      struct ckpt_err *err);

/* ---- rings.c ---- */
/* AREA, with its range and protection, is a context of io_setup(2). */
int ckpt_capture_ring(struct ckpt_capture *c, struct ckpt_capture_task *t, Ckpt__Area *area,
		      struct ckpt_err *err);

/* ---- areas.c, mapped.c ---- */
/* Has the helper begin with them. */
void ckpt_capture_areas_ahead(struct ckpt_capture *c);
/* Closes what that left open; when the helper has gone. */
void ckpt_capture_areas_end(struct ckpt_capture *c);
/* Address spaces of all tasks: task->mm, and the files that are mapped. */
int ckpt_capture_areas(struct ckpt_capture *c, struct ckpt_err *err);
/* The object behind an area that has a file. *FILEP is NULL if it was refused (a problem was
 * added). */
int ckpt_capture_mapped(struct ckpt_capture *c, struct ckpt_capture_task *t,
			const struct ckpt_map *m, struct ckpt_capture_file **filep,
			struct ckpt_err *err);
int ckpt_capture_exe(struct ckpt_capture *c, struct ckpt_capture_task *t,
		     struct ckpt_capture_file **filep, struct ckpt_err *err);
/* A descriptor of our own, opened again; -1: there is none to be had. */
int ckpt_capture_file_open(struct ckpt_capture *c, const struct ckpt_capture_file *f, int *fdp,
			   struct ckpt_err *err);

/* ---- objects.c ---- */
/* Asks every kind for the state of tasks, threads and the tree. */
int ckpt_capture_state(struct ckpt_capture *c, struct ckpt_err *err);
/* And for the files, all of which are known by now. */
int ckpt_capture_file_objects(struct ckpt_capture *c, struct ckpt_err *err);

/* ---- content.c ---- */
/* Has the helper look for the pages of tasks. */
void ckpt_capture_scan_ahead(struct ckpt_capture *c);
void ckpt_capture_scan_end(struct ckpt_capture *c);
/* Lists the pages of tasks and the contents of files as work. */
int ckpt_capture_memory(struct ckpt_capture *c, struct ckpt_err *err);

static inline int ckpt_capture_go_on(const struct ckpt_capture *c, struct ckpt_err *err)
{
	return c->opts->go_on ? c->opts->go_on(c->opts->arg, err) : 0;
}
/* Gathers what a user can act on: returns 0 for that, else CODE. */
int ckpt_capture_problem(struct ckpt_capture *c, int code, const struct ckpt_err *err);
/* Something that the image will lack: kept in it, and printed. */
void ckpt_capture_lost(struct ckpt_capture *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Grows an array in the arena; returns where the new one goes. */
void *ckpt_capture_grow(struct ckpt_arena *arena, void *v, size_t n, size_t *roomp, size_t size);
