/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user wants different: `SELECTOR=ACTION`, for open files. A selector is one or more of
 * kind:NAME, path:GLOB, key:KEY, id:N, process:PID, fd:N, separated by commas; just a path, a key
 * of CRIU (`pipe:[ino]`, `socket:[ino]`, `unix[ino]`, `tty[rdev:dev]`, `file[mnt:ino]`) or the name
 * of a kind will do. The planner applies rules before a kind is asked, so no kind knows of them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/problems.h"
#include "engine/model/object.h"

enum ckpt_act {
	CKPT_ACT_NONE,      /* it stays outside: who restores says what takes its place */
	CKPT_ACT_FD,        /* fd:N: a descriptor that ckpt has */
	CKPT_ACT_PATH,      /* path:P: opened, or connected to */
	CKPT_ACT_DROP,      /* drop: nothing is at the number */
	CKPT_ACT_CLOSE,     /* close: the other end is closed */
	CKPT_ACT_RECONNECT, /* reconnect: connected again to where it was */
	CKPT_ACT_FAIL,      /* fail: the dump or restore is refused */
};

struct ckpt_action {
	enum ckpt_act act;
	int fd;           /* CKPT_ACT_FD */
	const char *path; /* CKPT_ACT_PATH; borrowed */
};
/* False: it is none. */
bool ckpt_action_parse(const char *text, struct ckpt_action *action);

struct ckpt_rule {
	const char *text;              /* as given, for messages */
	const char *kind, *path, *key; /* NULL: any */
	uint32_t id;                   /* 0: any */
	pid_t pid;                     /* 0: any */
	int fd;                        /* -1: any */
	const char *action_text;       /* "" of one without an action */
	struct ckpt_action action;
	bool used; /* it has matched something */
};

struct ckpt_rules {
	struct ckpt_rule *v;
	size_t n, room;
};

/* All of them: *ERR has no code, it is about words. */
int ckpt_rules_add(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *text,
		   struct ckpt_err *err);
/* --external KEY: 0, too, for what is never in an image: mounts, namespaces, devices of networks.
 */
int ckpt_rules_add_external(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *key,
			    struct ckpt_err *err);
/* --inherit-fd fd[N]:KEY */
int ckpt_rules_add_inherit(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *text,
			   struct ckpt_err *err);
/* A rule a line; empty lines and those that begin with # are skipped. */
int ckpt_rules_add_file(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *path,
			struct ckpt_err *err);

/* The first that wants OBJ, of a kind (or something else) called KIND, which is descriptor FD of
 * PID (PID 0: nobody's); it is used then. NULL: none. RULES may be NULL. */
struct ckpt_rule *ckpt_rules_match(struct ckpt_rules *rules, const struct ckpt_object *obj,
				   const char *kind, pid_t pid, int fd);
/* A problem for each that has matched nothing. WHERE: "tree", "image". RULES may be NULL. */
void ckpt_rules_unused(const struct ckpt_rules *rules, const char *where,
		       struct ckpt_problems *problems);
