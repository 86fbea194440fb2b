/* SPDX-License-Identifier: Apache-2.0 */
/* What operations have in common: descriptors are slots, files have numbers, areas lie at fixed
 * addresses. */
#pragma once
#include <sys/types.h>
#include "tests/property/program.h"

#define OPERATION_AREAS 6
#define OPERATION_PAGES 16
#define OPERATION_AREA(i) ((char *)(0x20000000ul + (i)*0x1000000ul))

static inline int operation_slot(int i)
{
	return PROGRAM_SLOT + i;
}

/* f0, f1, ... of the working directory. */
const char *operation_file(int i);
/* Puts FD at its number; -1 if there is none. */
long operation_put(int fd, int at);
