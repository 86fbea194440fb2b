/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of an image: are they sane, and what lies there on this machine? */
#pragma once
#include <sys/stat.h>
#include "engine/plan/plan.h"

/* More than the kernel takes at once (PATH_MAX): such ways are gone in steps. */
#define CKPT_PATH_LEN 32768
/* An absolute path that is not too long? */
bool ckpt_path_sane(const char *path);
/* "process 12 (cat): fd 3: ", or "" for an object that no task has open. In a buffer of the caller,
 * CKPT_WHO bytes. */
#define CKPT_WHO 64
const char *ckpt_path_who(struct ckpt_planner *p, const struct ckpt_object *obj, char *buf,
			  size_t size);
/* Is there, on this machine, a file of the type in MODE that this process may open with FLAGS? If
 * not, that is made a problem of the plan. Without a host nobody looks: true, and ST is zero. */
bool ckpt_path_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *path,
		    mode_t mode, uint32_t flags, struct stat *st);
/* The same without a word. */
bool ckpt_path_fits(struct ckpt_planner *p, const char *path, mode_t mode, uint32_t flags,
		    struct stat *st);
/* The same for the folder that PATH is in, which has to take a new file. */
bool ckpt_path_folder_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *path);
/* A descriptor (O_PATH) of what PATH leads to, its last part being a link or not; links on the way
 * have to be root's or our own, else it is -ELOOP. */
int ckpt_path_look(const char *path);
/* The same for the folder that PATH is in; *LASTP is what of PATH is its name there. */
int ckpt_path_folder(const char *path, const char **lastp);
/* The same for the deepest folder on the way that is there; *RESTP, on the heap, is the rest of the
 * way, at least one name. */
int ckpt_path_deepest(const char *path, char **restp);
/* The same of a directory, which the last part may be a link to. */
int ckpt_path_directory(const char *path);
/* Opens PATH, whose last part is no symbolic link, with FLAGS to the letter: O_NOFOLLOW would stay
 * visible in F_GETFL. Returns a close-on-exec descriptor or a negative errno. */
int ckpt_path_open(const char *path, int flags);
