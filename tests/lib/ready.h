/* SPDX-License-Identifier: Apache-2.0 */
/* What processes of a story have written into the folder of the run, DIR. */
#pragma once
#include "tests/fidelity/oracle.h"

/* What changes by itself: ready.N says where a process waits for us. Fills at most ROOM. */
size_t ready_busy(const char *dir, struct oracle_busy *v, size_t room);
/* Has any of them decided already? */
bool ready_has_verdict(const char *dir);
