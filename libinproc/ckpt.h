/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that want a say in their checkpoints. The functions are there if the program was
 * started by ckpt-run (1), and are declared weak: without it they are NULL, so that the program
 * runs unchanged; ask ckpt_available() before anything else. Nothing is linked.
 */
#ifndef CKPT_H
#define CKPT_H
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef CKPT_WEAK
#define CKPT_WEAK __attribute__((weak))
#endif

/* Takes a checkpoint of this process and its children now, into $CKPT_DIR (of ckpt-run -D). Returns
 * twice, like setjmp(3): CKPT_TAKEN when the program goes on, CKPT_RESTORED in the program that was
 * restored from it. A negative errno: there is no checkpoint; ckpt_error() says why. */
enum { CKPT_TAKEN = 1, CKPT_RESTORED = 2 };
CKPT_WEAK int ckpt_now(void);
/* One sentence on the last failure of ckpt_now() in this process; "" if there was none. */
CKPT_WEAK const char *ckpt_error(void);

/* Hooks run in the thread that leads the checkpoint, in a signal handler: only functions that are
 * safe there (signal-safety(7)). BEFORE: in the order of registration, while the other threads run;
 * anything but 0 refuses the checkpoint. AFTER, in the program that goes on, and RESTORED, in the
 * one that came back: in reverse order, before the other threads go on. */
enum ckpt_event { CKPT_BEFORE, CKPT_AFTER, CKPT_ON_RESTORE };
typedef int (*ckpt_hook)(enum ckpt_event event, void *arg);
/* 0, or -ENOSPC: there are 64 already. The same hook and ARG once more for another event is another
 * one. */
CKPT_WEAK int ckpt_on(enum ckpt_event event, ckpt_hook hook, void *arg);

/* The whole pages in [ADDR, ADDR + LEN) need not be kept: they come back as zeros. Private
 * anonymous memory only. 0, -EINVAL, or -ENOSPC: there are 256 already. */
CKPT_WEAK int ckpt_exclude(void *addr, size_t len);
/* Takes that back; the range must be one given to ckpt_exclude(). 0 or -ENOENT. */
CKPT_WEAK int ckpt_include(void *addr, size_t len);

/* Between these no checkpoint is taken: requests wait. They nest, and count for all threads. */
CKPT_WEAK void ckpt_disable(void);
CKPT_WEAK void ckpt_enable(void);

/* Was this program started by ckpt-run? */
static inline bool ckpt_available(void)
{
	return ckpt_now != NULL;
}

#ifdef __cplusplus
}
#endif
#endif
