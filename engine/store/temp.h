/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: the files of an image while they are being written. */
#pragma once
#include <stdbool.h>
#include "engine/base/err.h"
#include "engine/model/pages.h"

struct ckpt_temp_file {
	int fd; /* -1: there is none */
	char name[48];
	bool there; /* under that name in the folder */
};

struct ckpt_temp {
	int dirfd;       /* borrowed */
	const char *dir; /* its name, for messages */
	char key[24];    /* a part of all names */
	struct ckpt_temp_file image, pages[CKPT_PAGES_FILES];
};

/* None of its files is there. */
static inline void ckpt_temp_init(struct ckpt_temp *temp)
{
	temp->image = (struct ckpt_temp_file){ .fd = -1 };
	for (size_t i = 0; i < CKPT_PAGES_FILES; i++)
		temp->pages[i] = (struct ckpt_temp_file){ .fd = -1 };
}

/* Creates the image and the first pages file, empty and locked. The lock goes with the descriptor:
 * a file whose lock can be had has no writer. */
int ckpt_temp_create(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err);
/* Another pages file, number I. Returns its descriptor, or -errno: it is not needed. */
int ckpt_temp_add(struct ckpt_temp *temp, size_t i);
/* Takes away what writers that died left behind, also half of a commit. Errors are ignored. */
void ckpt_temp_sweep(int dirfd);

/* ---- publish.c ---- */
/* Both of that, where there is no image yet. */
int ckpt_temp_begin(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err);
/* On the disk: so many pages files. */
int ckpt_temp_sync(const struct ckpt_temp *temp, size_t n_pages, struct ckpt_err *err);
/* They are an image now, the others go; after a failure there is nothing of it. */
int ckpt_temp_publish(struct ckpt_temp *temp, size_t n_pages, struct ckpt_err *err);
/* Always: closes, and removes what was not published. */
void ckpt_temp_end(struct ckpt_temp *temp);
