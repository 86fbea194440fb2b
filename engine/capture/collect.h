/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind may ask while it collects one object. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/problems.h"
#include "engine/capture/source.h"

struct ckpt_capture; /* of capture.c */
struct ckpt_file_policy;

/* What tells one sort of open file from another. */
struct ckpt_probe {
	struct stat st;
	long fs_magic;              /* statfs.f_type */
	const char *link;           /* target of /proc/PID/fd/N */
	bool link_leads;            /* it is a path and leads to it: seen during the freeze */
	int domain, type, protocol; /* of a socket, else -1 */
	bool path_only;             /* O_PATH: nothing but its place */
};

/* A descriptor with what few have and no kind of file knows of. */
struct ckpt_fd_extra {
	int number;
	uint32_t flags;  /* F_GETFL */
	bool first;      /* nobody else in the tree has this open file, or comes later */
	bool locked;     /* fdinfo shows locks */
	bool has_owner;  /* for SIGIO, or something that belongs to it */
	int signal;      /* F_GETSIG */
	int owner_type;  /* F_OWNER_* */
	pid_t owner;     /* 0: none, or it is dead */
	uid_t uid, euid; /* who made it the owner */
};

struct ckpt_collect {
	struct ckpt_source *src;
	struct ckpt_arena *arena; /* lives as long as the message */
	struct ckpt_capture *capture;
	uint32_t object; /* CKPT_PER_FILE: the id it will have; else 0 */
	pid_t pid, tid;  /* owner: the task, and the thread (CKPT_PER_THREAD) or the leader */
	int number;      /* CKPT_PER_FILE: a descriptor of PID that refers to it, -1: only mapped */
	int fd;          /* CKPT_PER_FILE: our duplicate of it (or our own open of the mapped file),
			    borrowed; -1: none can be had */
	uint32_t flags;  /* CKPT_PER_FILE: F_GETFL */
	const struct ckpt_probe *probe;
	bool shell_job;               /* -j was given */
	const struct ckpt_rule *rule; /* of kind "external": why it is */
	const char *was;              /* the same: the kind that would have claimed it, or "" */
	bool tcp_close;               /* connections of TCP may be lost */
	bool skip_in_flight;          /* those that nobody has accepted yet may be */
	const struct ckpt_file_policy *policy; /* policy.h; may be NULL */
};

/* Reads the number after "KEY:" in /proc/PID/fdinfo/NUMBER. */
int ckpt_fdinfo_u64(struct ckpt_collect *c, const char *key, int base, uint64_t *valuep,
		    struct ckpt_err *err);
/* The whole text of fdinfo, in the arena. */
int ckpt_fdinfo(struct ckpt_collect *c, char **textp, struct ckpt_err *err);
/* Reads /proc/TID/NAME (of c->tid) whole. */
int ckpt_proc_text(struct ckpt_collect *c, const char *name, char **textp, size_t *lenp,
		   struct ckpt_err *err);
/* The text of /proc/PID/task/TID/status of c->tid: read once for each thread and kept. */
int ckpt_status_text(struct ckpt_collect *c, const char **textp, struct ckpt_err *err);
/* Credentials as it tells them; parts of them may be kept. */
struct ckpt_creds;
int ckpt_status_creds(struct ckpt_collect *c, struct ckpt_creds **credsp, struct ckpt_err *err);
/* "flags" of /proc/PID/stat, of the process's main thread: the kernel's PF_ bits. */
uint64_t ckpt_kernel_flags(struct ckpt_collect *c);
/* Is it an anonymous inode of that class: "anon_inode:[CLS]"? */
bool ckpt_probe_anon(const struct ckpt_probe *probe, const char *cls);
/* Is it a message queue? It looks like a file in the root folder. */
bool ckpt_probe_mqueue(const struct ckpt_probe *probe);
/* Is it a file of /proc/PID? */
bool ckpt_probe_of_process(const struct ckpt_probe *probe);
/* The object that descriptor NUMBER of the task PID refers to, 0: none. All files are known before
 * any is collected. */
uint32_t ckpt_object_of_fd(struct ckpt_collect *c, pid_t pid, int number);
/* Does descriptor TFD:OFF of the epoll at c->number refer to the same file as NUMBER of PID (kcmp
 * EPOLL_TFD)? */
bool ckpt_epoll_target_is(struct ckpt_collect *c, int tfd, uint32_t off, pid_t pid, int number);
/* Is there a task with that pid in the tree; a thread; a group? */
bool ckpt_pid_in_tree(struct ckpt_collect *c, pid_t pid);
/* Has the thread a working directory, root and umask that are not those of its process? */
bool ckpt_fs_is_apart(struct ckpt_collect *c);
bool ckpt_tid_in_tree(struct ckpt_collect *c, pid_t tid);
bool ckpt_group_in_tree(struct ckpt_collect *c, pid_t group);
/* Those of the task PID, by number. */
const struct ckpt_fd_extra *ckpt_fd_extras(struct ckpt_collect *c, size_t *np);
/* One remote system call by c->tid; the result, negative errno if it failed. A transport failure is
 * in *ERRP->code and returned. */
int ckpt_call(struct ckpt_collect *c, long nr, const uint64_t arg[6], int buf_arg, void *buf,
	      size_t buf_len, int64_t *retp, struct ckpt_err *err);
/* Has anybody in the tree the inode of this file open, or mapped shared, for writing? */
bool ckpt_written_in_tree(struct ckpt_collect *c);
/* The build-id of a mapped file, at most CKPT_BUILD_ID_MAX bytes; returns its length, 0: none. */
size_t ckpt_mapped_build_id(struct ckpt_collect *c, uint8_t *id);
/* The content of this object (from 0 to SIZE) belongs into the image as pages; the engine reads it
 * through c->fd, or through a mapping where fd is -1. At restore kind->create() leaves it empty and
 * the engine fills it before link(). */
void ckpt_has_content(struct ckpt_collect *c, uint64_t size);
/* Areas of the tree that map this file, however it was opened. */
size_t ckpt_count_mappings(struct ckpt_collect *c);
/* Processors that are online: asked once for a capture, since every thread is compared with it. */
long ckpt_cpus_online(struct ckpt_collect *c);
/* What ASK says of this machine or of ckpt itself: it is called once for a capture. */
int64_t ckpt_once(struct ckpt_collect *c, int64_t (*ask)(void));
/* Does a security module label processes here? Asked once for a capture, too. */
bool ckpt_has_labels(struct ckpt_collect *c);
/* Something that a user has to know but that does not stop the dump: kept in the image, printed. */
void ckpt_lost(struct ckpt_collect *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
