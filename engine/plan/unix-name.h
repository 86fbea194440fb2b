/* SPDX-License-Identifier: Apache-2.0 */
/* Names of Unix sockets at a restore: abstract ones, and paths with the socket file that belongs to
 * them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include "engine/plan/site.h"

struct ckpt_unix_name {
	const uint8_t *name; /* sun_path; abstract if the first byte is 0 */
	size_t len;          /* 0: unnamed */
	const char *path;    /* of a path: absolute */
	const char *cwd;     /* NAME is relative to it; NULL: it is absolute */
	bool has_file;       /* the socket file is there; else it has been removed since */
	const char *moved;   /* or linked or renamed to this; MODE, UID and GID are of that file */
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

#define CKPT_UNIX_NAME_MAX 108

bool ckpt_unix_name_sane(const struct ckpt_unix_name *n);
/* "/run/x", "@abstract", "" */
const char *ckpt_unix_name_show(const struct ckpt_unix_name *n, char *buf, size_t size);
/* Binds FD (of type TYPE) and makes the socket file what it was, also where it is to be removed:
 * that is left to ckpt_unix_unlink(). A file that a dead socket left at the path is put aside. */
int ckpt_unix_bind(struct ckpt_site *site, int fd, int type, const struct ckpt_unix_name *n,
		   struct ckpt_err *err);
/* Nothing but bind(2); negative errno. */
int ckpt_unix_bind_only(int fd, const struct ckpt_unix_name *n);
int ckpt_unix_connect(int fd, const struct ckpt_unix_name *n, struct ckpt_err *err);
/* Sends M from FD to whoever has that name. */
int ckpt_unix_send(int fd, const struct ckpt_unix_name *n, struct msghdr *m, struct ckpt_err *err);
/* Removes the file at the path of a name that has none, if it is the one that FD is bound to. */
void ckpt_unix_unlink(int fd, const struct ckpt_unix_name *n);
