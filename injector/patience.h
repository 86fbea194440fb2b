/* SPDX-License-Identifier: Apache-2.0 */
/* As long as a program runs whose memory is copied, its threads come before ours. */
#pragma once
#include <stdint.h>

struct ckpt_patience {
	uint64_t slice; /* before, ns; 0: nothing has been set */
};

/* From here on whoever wakes up has the processor at once where one of our threads has it. That
 * costs us no share of it. Not before Linux 6.12. */
void ckpt_patience_begin(struct ckpt_patience *p);
void ckpt_patience_end(struct ckpt_patience *p);
