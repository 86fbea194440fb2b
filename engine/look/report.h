/* SPDX-License-Identifier: Apache-2.0 */
/* One page of HTML that shows an image; it needs nothing but itself. */
#pragma once
#include <stdio.h>
#include "engine/look/look.h"

/* Writes it to PATH, which must not exist. */
int ckpt_report_write(struct ckpt_look *look, const char *path, struct ckpt_err *err);
/* The picture of an address space: areas in their order, each as wide as the logarithm of its size,
 * filled as far as it is stored. */
void ckpt_report_picture(struct ckpt_look *look, const struct ckpt_task *task, FILE *out);
