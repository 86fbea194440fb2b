/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes and access lists of files that live in the image. */
#pragma once
#include "engine/capture/collect.h"

/* Names those that the file being collected has, SORT NAME: they are not kept. */
void ckpt_lost_attributes(struct ckpt_collect *c, const char *sort, const char *name);
