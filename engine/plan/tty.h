/* SPDX-License-Identifier: Apache-2.0 */
/* The planning half of engine/kinds/tty.c, and what others ask of terminals. */
#pragma once
#include <sys/sysmacros.h>
#include "engine/plan/plan.h"
#include "proto/tty.pb-c.h"

#define CKPT_TTY_CONTROLLING makedev(5, 0) /* /dev/tty: whatever terminal controls who opens it */
#define CKPT_TTY_MASTER makedev(5, 2)      /* /dev/ptmx */

/* A device number as TIOCGDEV and /proc/PID/stat show it. */
static inline dev_t ckpt_tty_decode(uint32_t dev)
{
	return makedev(dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

static inline uint32_t ckpt_tty_encode(dev_t dev)
{
	return (minor(dev) & 0xff) | major(dev) << 8 | (minor(dev) & ~0xffu) << 12;
}

/* N of /dev/pts/N, -1 if it is something else. */
static inline int ckpt_tty_pts(dev_t dev)
{
	return major(dev) >= 136 && major(dev) < 144 ?
		       (int)(minor(dev) + ((major(dev) - 136) << 20)) :
		       -1;
}

/* The master of that terminal in the tree, NULL: there is none. */
const struct ckpt_object *ckpt_tty_master(const struct ckpt_snapshot *snap, uint32_t device);
/* The task that leads the session of the terminal, NULL: it is not in the tree. */
const struct ckpt_task *ckpt_tty_leader(const struct ckpt_snapshot *snap, const Ckpt__Tty *t);
/* Made by the master in the builder, not by a task for itself? */
bool ckpt_tty_with_master(const struct ckpt_snapshot *snap, const struct ckpt_object *obj);
/* Is it a terminal in which something had not been read? */
bool ckpt_tty_unread(const struct ckpt_object *obj);
int ckpt_tty_plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err);
