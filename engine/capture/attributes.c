/* SPDX-License-Identifier: Apache-2.0 */
/* By the link: a descriptor for a path only (O_PATH) does not take flistxattr(2). */
#include "engine/capture/attributes.h"
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define ROOM 4096

/* Given to each new file by the machine's policy. */
static bool is_label(const char *name)
{
	return !strcmp(name, "security.selinux") || !strncmp(name, "security.SMACK64", 16);
}

void ckpt_lost_attributes(struct ckpt_collect *c, const char *sort, const char *name)
{
	char link[40], list[ROOM];
	ssize_t len;

	if (c->fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	len = listxattr(link, list, sizeof(list));
	for (const char *at = list; len > 0 && at < list + len; at += strlen(at) + 1)
		if (!is_label(at))
			ckpt_lost(c, "%s %s: its extended attribute %s", sort, name, at);
}
