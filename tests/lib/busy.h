/* SPDX-License-Identifier: Apache-2.0 */
/* For stories of a thread that writes memory all the time, and looks at what it wrote before. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/lib/case.h"

#define PAGE 4096ul

extern volatile bool busy_ends;       /* the thread returns as soon as it sees this */
extern volatile uint64_t busy_passes; /* it counts them */

/* In setup(): starts it, and waits for its first passes. */
void busy_start(void *(*work)(void *));
/* check(): it goes on, and ends. */
void busy_end(void);

/* Private memory, empty. */
void *busy_map(size_t len);
/* A word in every page tells whose it is. */
void busy_fill(void *p, size_t len, uint64_t id);
void busy_check(const void *p, size_t len, uint64_t id);
